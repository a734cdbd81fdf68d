//! The filter, attached as the daemon attaches it.

use super::{Installed, Kit, List};
use crate::private::BPFFS;
use crate::world::{CLIENT, DEVICE, ROUTER, World};
use anyhow::{Context, Result};
use aya::maps::HashMap;
use filter_core::Address;
use filter_core::abi::{Mac, Prefix, SandboxConfig, SandboxFlags};
use filter_dataplane::netlink::DeviceAddress;
use filter_dataplane::{Dataplane, Device, HookKind, Place, purge};
use filter_policy::Attach;
use ipnet::{IpNet, Ipv4Net};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// So many answers a second that none is held back.
const ALL_ANSWERS: u32 = 10_000_000;

/// The filter on a router's device towards its client.
pub(crate) struct Filter {
    dataplane: Option<Dataplane>,
    place: Place,
    pin_dir: PathBuf,
}

pub(super) fn install(kit: &Kit, world: &World, list: List, kind: HookKind, reject: bool) -> Result<Installed> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let pin_dir = Path::new(BPFFS).join(format!("bench-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    let router = &world.router;
    let device = Device::find(&Attach::Interface { name: DEVICE.to_owned(), netns: Some(router.reference()) })?;
    let netns_inode = router.inode()?;
    let place = Place { slot: Dataplane::FIRST_SLOT, netns_inode, ifindex: device.ifindex };
    let dataplane = Dataplane::open_with(&pin_dir, kind)?;
    let mut filter = Filter { dataplane: Some(dataplane), place, pin_dir };
    let dataplane = filter.dataplane();
    if let Some(object) = &kit.slow {
        fill(&mut dataplane.load_object(netns_inode, object)?)?;
    }
    dataplane.protect(&[IpNet::from(Ipv4Net::from(CLIENT))])?;
    let host = ROUTER.map(|(address, bits)| {
        let net = Ipv4Net::new(address, bits).expect("a length of IPv4");
        DeviceAddress { ifindex: device.ifindex, address: net.into(), network: net.trunc().into() }
    });
    dataplane.protect_host(netns_inode, &[], &host)?;
    dataplane.attach(place, &device, &config(&device, reject), kit.policy(list))?;
    Ok(Installed::Filter(Box::new(filter)))
}

/// What the daemon would say of the sandbox, with its standard configuration.
fn config(device: &Device, reject: bool) -> SandboxConfig {
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
    config.sources[0] = Prefix::new(Address::v4(CLIENT.octets()), 128);
    config.gateways[0] = Address::v4(ROUTER[0].0.octets());
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

    /// The mean time of a run on a frame.
    pub(super) fn time(&mut self, world: &World, frame: &[u8], repeat: u32) -> Result<Duration> {
        let place = self.place;
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
