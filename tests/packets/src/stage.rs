//! Profiles, attached to devices of a world of their own.

use crate::expect::Lists;
use crate::flow_table;
use crate::profile::Profile;
use crate::row::Known;
use crate::state::{Maps, inner_name};
use crate::{EventRing, Offload, RawSocket, State, living};
use anyhow::{Context, Result, ensure};
use filter_core::abi::{self, SandboxConfig};
use filter_dataplane::{Dataplane, Device, Judgement, Outcome, Place};
use filter_policy::{Compiled, compile};
use std::path::PathBuf;
use std::time::Duration;
use test_world::{Node, World};

/// Index of the first profile's device.
const FIRST_IFINDEX: u32 = 100;
/// The node with the far ends of the devices.
const FAR: &str = "far";
const GATEWAY: &str = "02:00:00:00:00:01";
const OWN: &str = "02:00:00:00:00:02";

/// Attached sandboxes, whose devices carry nothing but what a test runs on them.
pub struct Stage {
    // Dropped in this order: no program, then no world.
    ring: EventRing,
    dataplane: Dataplane,
    attached: Vec<Attached>,
    kept: Option<State>,
    /// Where packets leave traces, once that was asked for.
    traces: Option<Maps>,
    /// Everything, as it was at first.
    first: State,
    far: Node,
    world: World,
}

/// An attached sandbox.
pub struct Attached {
    /// What it is.
    pub profile: Profile,
    /// Where it is.
    pub place: Place,
    /// What is fixed about it.
    pub config: SandboxConfig,
    /// Its policy.
    pub compiled: Compiled,
    /// The policy's generation.
    pub generation: u32,
}

impl Stage {
    /// Makes a world and attaches `profiles` in it. `name` shows in the names of its namespaces.
    ///
    /// # Errors
    /// Without root, or when something cannot be made.
    pub fn new(name: &str, profiles: &[Profile]) -> Result<Stage> {
        let world =
            World::new(name).context("the packet tables make namespaces and load programs: run them as root")?;
        let far = world.node(FAR)?;
        let lines = profiles.iter().zip(FIRST_IFINDEX..).map(|(profile, number)| {
            // This one's place in the array of slots is the first one's.
            let index = if *profile == Profile::Crowded { FIRST_IFINDEX + abi::SLOTS } else { number };
            let (near, name) = (device(*profile), far.name());
            format!(
                "link add {near} index {index} address {GATEWAY} type veth peer {near} address {OWN} netns {name}\n"
            )
        });
        world.host().ip_batch(&lines.collect::<String>())?;
        let mut dataplane = Dataplane::open(world.pin_dir())?;
        let mut attached = Vec::new();
        for (profile, number) in profiles.iter().zip(1..) {
            attached.push(attach(&mut dataplane, *profile, world.host().name(), number)?);
        }
        let first = attached.first().context("a stage without a profile")?;
        dataplane.protect_host(first.place.netns_inode, &[], &living::host())?;
        dataplane.protect(&living::sandboxes())?;
        let ring = EventRing::open(world.pin_dir())?;
        let first = State::read(world.pin_dir())?;
        let stage = Stage { ring, dataplane, attached, kept: None, traces: None, first, far, world };
        stage.check_living()?;
        Ok(stage)
    }

    /// The sandbox of a profile.
    ///
    /// # Panics
    /// When it is not attached here.
    pub fn attached(&self, profile: Profile) -> &Attached {
        let found = self.attached.iter().find(|attached| attached.profile == profile);
        found.unwrap_or_else(|| panic!("{profile:?} is not attached"))
    }

    /// The kernel side.
    pub fn dataplane(&mut self) -> &mut Dataplane {
        self.traces = None;
        &mut self.dataplane
    }

    /// Where everything is pinned.
    pub fn pin_dir(&self) -> PathBuf {
        self.world.pin_dir().to_owned()
    }

    /// The consumer of the ring.
    pub fn ring(&mut self) -> &mut EventRing {
        &mut self.ring
    }

    /// What is in the maps.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn state(&self) -> Result<State> {
        State::read(self.world.pin_dir())
    }

    /// What is in the maps that packets leave traces in.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn traces(&mut self) -> Result<State> {
        let maps = match self.traces.take() {
            Some(maps) => maps,
            None => Maps::open(self.world.pin_dir())?.of_traces(),
        };
        self.traces.insert(maps).read()
    }

    /// What has become of the maps that programs only look into, since the stage was set: nothing.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn changes_without_traces(&self) -> Result<Vec<String>> {
        let (before, after) = (self.first.clone().without_traces(), self.state()?.without_traces());
        Ok(before.changes(&after))
    }

    /// Runs the program on a frame as if the device at `place` had received it; whether it passes.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn run(&mut self, place: Place, frame: &[u8]) -> Result<bool> {
        Ok(self.run_often(place, frame, 1)? > 0)
    }

    /// Runs the program on the same frame `times` times; how often it passes.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn run_often(&mut self, place: Place, frame: &[u8], times: u32) -> Result<u32> {
        self.kept = None;
        let Stage { dataplane, world, .. } = self;
        let all = || (0..times).map(|_| dataplane.run(place, frame).map(u32::from)).sum::<Result<u32, _>>();
        Ok(world.host().within(all)??)
    }

    /// Runs the program on a frame that the device at `place` has received; what becomes of it.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn run_for_answer(&mut self, place: Place, frame: &[u8]) -> Result<Outcome> {
        self.kept = None;
        let Stage { dataplane, world, .. } = self;
        Ok(world.host().within(|| dataplane.run_for_answer(place, frame))??)
    }

    /// Runs the program on a frame that the device at `place` is about to send; whether it passes.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn run_towards(&mut self, place: Place, mark: u32, frame: &[u8]) -> Result<bool> {
        self.kept = None;
        let Stage { dataplane, world, .. } = self;
        Ok(world.host().within(|| dataplane.run_inbound(place, mark, frame))??)
    }

    /// Detaches the sandbox of a profile, and attaches it again to the same slot and device.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn attach_again(&mut self, profile: Profile) -> Result<()> {
        (self.kept, self.traces) = (None, None);
        let place = self.attached(profile).place;
        self.dataplane.detach(place)?;
        let number = place.slot - Dataplane::FIRST_SLOT;
        attach(&mut self.dataplane, profile, self.world.host().name(), number).map(drop)
    }

    /// Makes the flows of a slot those that are known, and no others.
    pub(crate) fn set_flows(&mut self, slot: u32, known: &[Known]) -> Result<()> {
        self.kept = None;
        self.dataplane.follow(slot)?;
        if self.traces.as_ref().is_some_and(|maps| !maps.contains(&inner_name("FLOWS", slot))) {
            self.traces = None;
        }
        flow_table::fill(self.world.pin_dir(), slot, known)
    }

    /// What the kernel program says of a made frame.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn explain(&mut self, place: Place, frame: &[u8]) -> Result<Judgement> {
        Ok(self.dataplane.explain(place, frame)?)
    }

    /// Sets the devices of a profile up, for frames of up to 9,000 bytes. Without IPv6 they say nothing by themselves.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn raise(&self, profile: Profile) -> Result<()> {
        let device = device(profile);
        let quiet = format!("net.ipv6.conf.{device}.disable_ipv6");
        for node in [self.world.host(), &self.far] {
            node.sysctls(&[(&quiet, "1")])?;
            node.ip_batch(&format!("link set {device} mtu 9000 up\n"))?;
        }
        let carrier =
            || self.far.ip(&format!("link show dev {device}")).is_ok_and(|out| out.stdout.contains("LOWER_UP"));
        ensure!(test_world::wait_until(Duration::from_secs(5), carrier), "{device} has no carrier");
        Ok(())
    }

    /// Sends a frame from the sandbox's end.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn send(&mut self, profile: Profile, frame: &[u8], offload: Offload) -> Result<()> {
        self.kept = None;
        self.far.within(|| RawSocket::open(&device(profile))?.send(frame, offload))?
    }

    /// The state that the last check left, when nothing was done since.
    pub(crate) fn kept(&mut self) -> Option<State> {
        self.kept.take()
    }

    pub(crate) fn keep(&mut self, state: State) {
        self.kept = Some(state);
    }

    /// The tables that the kernel has of a sandbox, for userspace.
    pub(crate) fn lists<'a>(&self, attached: &'a Attached, flows: &'a [Known]) -> Lists<'a> {
        Lists { compiled: &attached.compiled, flows }
    }

    /// The kernel's tables of living prefixes are the ones that userspace judges by.
    fn check_living(&self) -> Result<()> {
        let state = &self.first;
        let here = format!("netns/{}/LIVING", self.attached[0].place.netns_inode);
        for (name, of_sandboxes) in [(here.as_str(), false), ("PROTECTED", true)] {
            let mut found: Vec<_> =
                state.entries(name).into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            found.sort();
            ensure!(found == living::entries(of_sandboxes), "{name} is not as expected: {found:?}");
        }
        Ok(())
    }
}

fn attach(dataplane: &mut Dataplane, profile: Profile, netns: &str, number: u32) -> Result<Attached> {
    let sandbox = profile.sandbox(&device(profile), netns)?;
    let device = Device::find(&sandbox.attach)?;
    ensure!(device.gateway_mac == crate::GATEWAY_MAC, "{device:?}");
    let place =
        Place { slot: Dataplane::FIRST_SLOT + number, netns_inode: device.netns_inode, ifindex: device.ifindex };
    let config = profile.config(&sandbox, 7_000 + number);
    let generation = 40 + number;
    let mut compiled = compile(&sandbox.policy, &profile.operator(), generation);
    if profile == Profile::Orphaned {
        (compiled.first, compiled.rest) = (filter_core::table::First::EMPTY, Vec::new());
    }
    dataplane.limit_flows(profile.flows());
    dataplane.attach(place, &device, &config, &compiled).with_context(|| format!("{profile:?}"))?;
    Ok(Attached { profile, place, config, compiled, generation })
}

fn device(profile: Profile) -> String {
    format!("p-{}", format!("{profile:?}").to_lowercase())
}
