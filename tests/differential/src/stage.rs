//! The profiles, attached in a world of their own: twice, so that what comes in on one leaves nothing that a packet on the other
//! could answer.

use crate::grammar::Way;
use crate::profile::{self, GATEWAY_MAC, Profile, common};
use anyhow::{Context, Result, ensure};
use filter_core::abi::{FlowKey, LivingValue, PolicyValue, SandboxConfig};
use filter_core::{Address, Reason, Steps, Tables};
use filter_dataplane::{Counters, Dataplane, Device, Place};
use filter_policy::{Compiled, compile};
use test_world::World;

/// Flows that an attachment has room for, and packets after which it is emptied.
const FLOWS: u32 = 65_536;

pub(crate) struct Stage {
    // Dropped in this order: no program, then no world.
    dataplane: Dataplane,
    pub(crate) attached: Vec<Attached>,
    living: Vec<(Address, u32, LivingValue)>,
    world: World,
}

/// One profile on two devices.
pub(crate) struct Attached {
    pub(crate) profile: Profile,
    pub(crate) config: SandboxConfig,
    pub(crate) meaning: test_model::Sandbox,
    pub(crate) surroundings: test_model::Host,
    compiled: Compiled,
    from: Side,
    to: Side,
}

struct Side {
    place: Place,
    device: Device,
    runs: u32,
}

impl Stage {
    /// Makes a world and attaches the profiles in it.
    pub(crate) fn new(profiles: &[Profile]) -> Result<Stage> {
        let world = World::new("differential").context("namespaces and kernel programs need root")?;
        let far = world.node("far")?;
        let ways = ["f", "t"];
        let names = profiles.iter().flat_map(|profile| ways.map(|way| format!("{way}-{}", profile.name)));
        let lines: String = names
            .map(|name| {
                let netns = far.name();
                format!("link add {name} address 02:00:00:00:00:01 type veth peer {name} netns {netns}\n")
            })
            .collect();
        world.host().ip_batch(&lines)?;
        let mut dataplane = Dataplane::open(world.pin_dir())?;
        dataplane.limit_flows(FLOWS);
        let mut attached = Vec::new();
        for (profile, number) in profiles.iter().zip(0..) {
            let side = |dataplane: &mut Dataplane, at: usize| -> Result<_> {
                let name = format!("{}-{}", ways[at], profile.name);
                let sandbox = profile.sandbox(&name, world.host().name())?;
                let device = Device::find(&sandbox.attach)?;
                ensure!(device.gateway_mac == GATEWAY_MAC, "{device:?}");
                let slot = Dataplane::FIRST_SLOT + 2 * number + at as u32;
                let place = Place { slot, netns_inode: device.netns_inode, ifindex: device.ifindex };
                let config = profile.config(&sandbox, 1 + number);
                let compiled = compile(&sandbox.policy, &profile.operator(), 1);
                dataplane.attach(place, &device, &config, &compiled).context(profile.name)?;
                dataplane.follow(slot)?;
                Ok((Side { place, device, runs: 0 }, config, compiled))
            };
            let (from, config, compiled) = side(&mut dataplane, 0)?;
            let (to, ..) = side(&mut dataplane, 1)?;
            attached.push(Attached {
                profile: *profile,
                config,
                meaning: profile.meaning(),
                surroundings: profile.surroundings(),
                compiled,
                from,
                to,
            });
        }
        let netns = attached.first().context("no profile")?.from.place.netns_inode;
        dataplane.protect_host(netns, &[], &profile::host())?;
        dataplane.protect(&profile::sandboxes())?;
        Ok(Stage { dataplane, attached, living: living(), world })
    }

    /// Whether the kernel program lets a frame pass.
    pub(crate) fn run(&mut self, number: usize, way: Way, mark: u32, frame: &[u8]) -> Result<bool> {
        let Stage { dataplane, attached, world, .. } = self;
        let place = attached[number].place(way);
        Ok(world.host().within(|| match way {
            Way::FromSandbox => dataplane.run(place, frame),
            Way::ToSandbox => dataplane.run_inbound(place, mark, frame),
        })??)
    }

    /// Makes room for flows where too many packets have come in.
    pub(crate) fn refresh(&mut self, number: usize, packets: u32) -> Result<()> {
        let attached = &mut self.attached[number];
        attached.to.runs += packets;
        if attached.to.runs > FLOWS / 4 {
            attached.to.runs = 0;
            let Side { place, device, .. } = &attached.to;
            self.dataplane.detach(*place)?;
            self.dataplane.attach(*place, device, &attached.config, &attached.compiled)?;
            self.dataplane.follow(place.slot)?;
        }
        Ok(())
    }

    pub(crate) fn counters(&self, number: usize, way: Way) -> Result<Counters> {
        self.dataplane.counters(self.attached[number].place(way).slot)?.context("a slot without counters")
    }

    /// The tables that the kernel has, for userspace.
    pub(crate) fn lists(&self, number: usize) -> Lists<'_> {
        Lists { compiled: &self.attached[number].compiled, living: &self.living }
    }
}

impl Attached {
    fn place(&self, way: Way) -> Place {
        match way {
            Way::FromSandbox => self.from.place,
            Way::ToSandbox => self.to.place,
        }
    }
}

/// The tables of a sandbox to which no connection has come.
pub(crate) struct Lists<'a> {
    compiled: &'a Compiled,
    living: &'a [(Address, u32, LivingValue)],
}

impl Steps for Lists<'_> {}

impl Tables for Lists<'_> {
    fn policy(&self, address: &Address) -> Option<PolicyValue> {
        PolicyValue::find(&self.compiled.rest[..], &self.compiled.first, address)
    }

    fn living(&self, address: &Address) -> Option<LivingValue> {
        let covering = self.living.iter().filter(|(network, bits, _)| covers(network, *bits, address));
        covering.max_by_key(|(_, bits, _)| *bits).map(|(.., value)| *value)
    }

    fn flow(&self, _: &FlowKey) -> Option<u32> {
        None
    }
}

fn living() -> Vec<(Address, u32, LivingValue)> {
    let mut table = Vec::new();
    let mut add = |prefix: ipnet::IpNet, reason| {
        let (address, bits) = common(&prefix);
        table.push((address, bits, LivingValue::new(reason)));
    };
    let pools = profile::sandboxes();
    for on in profile::host() {
        let pooled = pools.iter().any(|pool| pool.contains(&on.network));
        add(on.network, if pooled { Reason::ProtectedSandbox } else { Reason::ProtectedLink });
        add(on.address.addr().into(), Reason::ProtectedHost);
    }
    for prefix in profile::sandboxes() {
        add(prefix, Reason::ProtectedSandbox);
    }
    table
}

fn covers(network: &Address, bits: u32, address: &Address) -> bool {
    (u128::from_be_bytes(network.octets()) ^ u128::from_be_bytes(address.octets())).leading_zeros() >= bits
}
