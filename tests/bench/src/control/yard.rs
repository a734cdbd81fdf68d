//! A namespace with many device pairs, none of which leads anywhere, and the filter's kernel side for it.

use crate::private::BPFFS;
use crate::world::Netns;
use anyhow::{Context, Result};
use filter_core::Address;
use filter_core::abi::{Prefix, SandboxConfig};
use filter_dataplane::{Dataplane, Device, Place, ToAttach, netlink, purge};
use filter_policy::Compiled;
use std::collections::HashMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// A namespace with device pairs, in order.
pub(crate) struct Yard {
    /// The namespace.
    pub(crate) netns: Netns,
    devices: Vec<Device>,
}

impl Yard {
    /// One with so many pairs `d0`, `d1`, …; nothing is sent on them.
    pub(crate) fn new(count: u32) -> Result<Yard> {
        let netns = Netns::new()?;
        netns.sysctls(&[("net.ipv6.conf.all.disable_ipv6", "1"), ("net.ipv6.conf.default.disable_ipv6", "1")])?;
        let mut lines = String::new();
        for at in 0..count {
            writeln!(lines, "link add d{at} type veth peer name e{at}")?;
        }
        netns.ip(&lines)?;
        let namespace = filter_dataplane::Namespace::find(&netns.reference())?;
        let links: HashMap<_, _> =
            netlink::links(&namespace)?.into_iter().map(|link| (link.name.clone(), link)).collect();
        let inode = netns.inode()?;
        let device = |at: u32| {
            let link = links.get(&format!("d{at}")).context("a device that was made is not there")?;
            Ok(Device {
                name: link.name.clone(),
                ifindex: link.ifindex,
                netns: Some(netns.reference()),
                netns_inode: inode,
                gateway_mac: link.mac.context("a device without an address")?,
                gateway: Vec::new(),
                bridge: None,
                up: false,
            })
        };
        let devices = (0..count).map(device).collect::<Result<_>>()?;
        Ok(Yard { netns, devices })
    }
}

/// The filter's kernel side, with sandboxes at a yard's devices.
pub(crate) struct Filter {
    dataplane: Option<Dataplane>,
    pin_dir: PathBuf,
}

impl Filter {
    /// One without sandboxes.
    pub(crate) fn new(name: &str) -> Result<Filter> {
        let pin_dir = Path::new(BPFFS).join(format!("control-{name}"));
        let dataplane = Dataplane::open(&pin_dir)?;
        Ok(Filter { dataplane: Some(dataplane), pin_dir })
    }

    /// The kernel side.
    pub(crate) fn dataplane(&mut self) -> &mut Dataplane {
        self.dataplane.as_mut().expect("taken when dropped")
    }

    /// Attaches a sandbox to each device of a yard that is not before `first`, as many as `count`, all with this policy.
    pub(crate) fn attach(&mut self, yard: &Yard, first: u32, count: u32, policy: &Compiled) -> Result<()> {
        let devices = &yard.devices[first as usize..(first + count) as usize];
        let configs: Vec<SandboxConfig> = (first..first + count).map(config).collect();
        let to_attach = |((at, device), config)| ToAttach { place: place(at, device), device, config, policy };
        let all: Vec<_> = (first..).zip(devices).zip(&configs).map(to_attach).collect();
        Ok(self.dataplane().attach_many(&all).into_iter().collect::<Result<(), _>>()?)
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

/// The slot of a sandbox.
pub(crate) fn slot(at: u32) -> u32 {
    Dataplane::FIRST_SLOT + at
}

/// Its address.
pub(crate) fn address(at: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from_be_bytes([198, 18, 0, 0]) + 4 * at)
}

fn place(at: u32, device: &Device) -> Place {
    Place { slot: slot(at), netns_inode: device.netns_inode, ifindex: device.ifindex }
}

fn config(at: u32) -> SandboxConfig {
    let mut config = SandboxConfig { incarnation: at + 1, flags: 0, source_count: 1, ..SandboxConfig::EMPTY };
    config.sources[0] = Prefix::new(Address::v4(address(at).octets()), 128);
    config
}
