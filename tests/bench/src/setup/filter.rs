//! The filter, as the daemon attaches it.

use super::{Installed, Kit, List, Way};
use crate::private::BPFFS;
use crate::world::{LANES, Lane, ROUTER, World};
use anyhow::{Context, Result, ensure};
use aya::maps::HashMap;
use aya::programs::{SchedClassifier, TcAttachType};
use filter_core::Address;
use filter_core::abi::{Mac, Prefix, SandboxConfig, SandboxFlags};
use filter_dataplane::netlink::DeviceAddress;
use filter_dataplane::{Dataplane, Device, HookKind, Place, purge};
use filter_policy::Attach;
use ipnet::{IpNet, Ipv4Net};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// So many answers a second that none is held back.
const ALL_ANSWERS: u32 = 10_000_000;

/// The filter for a router's devices towards its clients.
pub(crate) struct Filter {
    dataplane: Option<Dataplane>,
    places: Vec<Place>,
    pin_dir: PathBuf,
}

/// By clsact, for all packets of the world.
pub(super) fn by_clsact(kit: &Kit, world: &World) -> Result<Installed> {
    let filter = attach(kit, world, &LANES[..1], List::Thousand, HookKind::Clsact, false)?;
    Ok(Installed::Filter(Box::new(filter)))
}

/// Ready to be put at the world's gate; `reject`: denied packets are answered.
pub(super) fn at_gate(kit: &Kit, world: &World, list: List, reject: bool) -> Result<Installed> {
    let mut filter = attach(kit, world, &LANES, list, HookKind::Tcx, reject)?;
    for place in filter.places.clone() {
        filter.dataplane().unhook(place)?;
    }
    LANES.iter().try_for_each(|lane| wait_until_open(world, lane.device))?;
    Ok(Installed::Filter(Box::new(filter)))
}

/// Waits until a device runs no program: a link goes somewhat later than its pin.
fn wait_until_open(world: &World, device: &str) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let begun = Instant::now();
    let is_open = |way| Ok(SchedClassifier::query_tcx(device, way)?.1.is_empty());
    for way in [TcAttachType::Ingress, TcAttachType::Egress] {
        while !world.router.within(|| is_open(way))? {
            ensure!(begun.elapsed() < PATIENCE, "the filter is still at {device} after {} s", PATIENCE.as_secs());
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn attach(kit: &Kit, world: &World, lanes: &[Lane], list: List, kind: HookKind, reject: bool) -> Result<Filter> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let pin_dir = Path::new(BPFFS).join(format!("bench-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    let netns_inode = world.router.inode()?;
    let dataplane = Dataplane::open_with(&pin_dir, kind)?;
    let mut filter = Filter { dataplane: Some(dataplane), places: Vec::new(), pin_dir };
    if let Some(object) = &kit.slow {
        fill(&mut filter.dataplane().load_object(netns_inode, object)?)?;
    }
    filter.dataplane().protect(&LANES.map(|lane| IpNet::from(Ipv4Net::from(lane.client))))?;
    for (slot, lane) in (Dataplane::FIRST_SLOT..).zip(lanes) {
        let netns = Some(world.router.reference());
        let device = Device::find(&Attach::Interface { name: lane.device.to_owned(), netns })?;
        let host = ROUTER.map(|(address, bits)| {
            let net = Ipv4Net::new(address, bits).expect("a length of IPv4");
            DeviceAddress { ifindex: device.ifindex, address: net.into(), network: net.trunc().into() }
        });
        let place = Place { slot, netns_inode, ifindex: device.ifindex };
        filter.dataplane().protect_host(netns_inode, &[], &host)?;
        filter.dataplane().attach(place, &device, &config(&device, lane, reject), kit.policy(list))?;
        filter.places.push(place);
    }
    Ok(filter)
}

/// What the daemon would say of the sandbox, with its standard configuration.
fn config(device: &Device, lane: &Lane, reject: bool) -> SandboxConfig {
    let mut config = SandboxConfig {
        incarnation: 1,
        flags: if reject { SandboxFlags::REJECT } else { 0 },
        events_per_second: 50,
        events_burst: 100,
        rejects_per_second: ALL_ANSWERS,
        rejects_burst: ALL_ANSWERS,
        own_mark: 0x50,
        mark_mask: 0xf0,
        gateway_mac: Mac::new(device.gateway_mac),
        source_count: 1,
        gateway_count: 1,
        ..SandboxConfig::EMPTY
    };
    config.sources[0] = Prefix::new(Address::v4(lane.client.octets()), 128);
    config.gateways[0] = Address::v4(lane.gateway.octets());
    config.with_gateway_told_apart()
}

/// Fills what the slower program looks up in.
fn fill(ebpf: &mut aya::Ebpf) -> Result<()> {
    let map = ebpf.map_mut("SLOWNESS").context("the slower program has no map to fill")?;
    let mut map = HashMap::<_, u32, u32>::try_from(map)?;
    (0..1 << 16).try_for_each(|key| map.insert(key, key, 0)).context("cannot fill the slower program's map")
}

impl Filter {
    fn dataplane(&mut self) -> &mut Dataplane {
        self.dataplane.as_mut().expect("taken when dropped")
    }

    /// The program of a direction.
    pub(super) fn program(&mut self, way: Way) -> Result<&mut SchedClassifier> {
        let inode = self.places[0].netns_inode;
        Ok(self.dataplane().program(inode, way == Way::FromClient)?)
    }

    /// The mean time of a run on a frame.
    pub(super) fn time(&mut self, world: &World, frame: &[u8], repeat: u32) -> Result<Duration> {
        let place = self.places[0];
        world.router.within(|| Ok(self.dataplane().time(place, frame, repeat)?))
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        drop(self.dataplane.take());
        if let Err(error) = purge(&self.pin_dir) {
            // Its pins go with the process at the latest.
            eprintln!("{} was not removed: {error}", self.pin_dir.display());
        }
    }
}
