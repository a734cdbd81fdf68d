//! From a document's `attach` to the device on the host's side, and what is known of the gateway behind it.

use crate::netlink::{self, Link};
use crate::{CgroupPath, DeviceError, Error, Namespace};
use filter_core::abi;
use filter_policy::{Attach, NetnsRef};
use rtnetlink::packet_route::link::{InfoKind, LinkLayerType};
use std::fs;
use std::net::IpAddr;

/// The host-side device of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its index in its namespace.
    pub ifindex: u32,
    /// The namespace that it is in, when it is not the daemon's.
    pub netns: Option<NetnsRef>,
    /// What tells that namespace from others.
    pub netns_inode: u64,
    /// MAC address of the gateway: the device's own, or that of the bridge that it is a port of.
    pub gateway_mac: [u8; 6],
    /// Addresses of the gateway.
    pub gateway: Vec<IpAddr>,
    /// The bridge that it is a port of.
    pub bridge: Option<u32>,
    /// Whether packets can have come from it already: it is switched on, and somebody is or was at the far end.
    pub up: bool,
}

impl Device {
    /// Finds the device of an attachment and checks that it can be one.
    ///
    /// # Errors
    /// [`Error::Device`] tells why not.
    pub fn find(attach: &Attach) -> Result<Device, Error> {
        match attach {
            Attach::Interface { name, netns } => {
                let namespace = Namespace::find_or_own(netns.as_ref())?;
                let missing = || DeviceError::Missing { device: name.clone(), namespace: namespace.label().to_owned() };
                let link = netlink::link(&namespace, name)?.ok_or_else(missing)?;
                Device::check(link, &namespace, netns.clone())
            }
            Attach::Netns(reference) => {
                let inside = Namespace::find(reference)?;
                let here = Namespace::own()?;
                let link = host_side(&inside, &here, reference)?;
                Device::check(link, &here, None)
            }
            Attach::Cgroup { path, .. } => CgroupPath::find(path).map(Device::of_cgroup),
        }
    }

    /// What stands for a cgroup where devices are spoken of: its path is the name, its id the namespace's inode, its index is 0; what is handed
    /// over goes by the loopback device, as it goes by a bridge elsewhere.
    fn of_cgroup(CgroupPath { path, id }: CgroupPath) -> Device {
        let has_members = fs::read_to_string(path.join("cgroup.events")).is_ok_and(|text| text.contains("populated 1"));
        Device {
            name: path.display().to_string(),
            ifindex: 0,
            netns: None,
            netns_inode: id,
            gateway_mac: [0; 6],
            gateway: Vec::new(),
            bridge: Some(abi::LOOPBACK),
            up: has_members,
        }
    }

    fn check(link: Link, namespace: &Namespace, netns: Option<NetnsRef>) -> Result<Device, Error> {
        match (link.layer, link.mac) {
            (LinkLayerType::Loopback, _) => return Err(DeviceError::Loopback(link.name).into()),
            (LinkLayerType::Ether, Some(_)) => {}
            (layer, _) => {
                return Err(DeviceError::NotEthernet { device: link.name, kind: format!("{layer:?}") }.into());
            }
        }
        let mut sides = vec![link.ifindex];
        sides.extend(link.controller);
        for side in &sides {
            if netlink::has_default_route(namespace, *side)? {
                return Err(DeviceError::DefaultRoute(link.name).into());
            }
        }
        let vanished = || DeviceError::Missing { device: link.name.clone(), namespace: namespace.label().to_owned() };
        let found = netlink::devices(namespace, &sides)?;
        let (side, addresses) = found.last().filter(|_| found.len() == sides.len()).ok_or_else(vanished)?;
        Ok(Device {
            gateway: addresses.iter().map(|entry| entry.address.addr()).collect(),
            gateway_mac: side.mac.ok_or_else(vanished)?,
            bridge: bridge(side),
            up: link.up && (link.carrier || link.received > 0),
            name: link.name,
            ifindex: link.ifindex,
            netns,
            netns_inode: namespace.inode(),
        })
    }
}

/// The index of what a port leads to, if that is a bridge.
pub(crate) fn bridge(side: &Link) -> Option<u32> {
    (side.kind == Some(InfoKind::Bridge)).then_some(side.ifindex)
}

/// The far end, in `here`, of the one link that leaves the namespace `inside`.
fn host_side(inside: &Namespace, here: &Namespace, reference: &NetnsRef) -> Result<Link, Error> {
    let refuse = |reason: String| Error::from(DeviceError::NoPeer { namespace: reference.to_string(), reason });
    let leaving: Vec<Link> = netlink::links(inside)?.into_iter().filter(leaves).collect();
    let [only] = leaving.as_slice() else {
        let names: Vec<&str> = leaving.iter().map(|link| link.name.as_str()).collect();
        return Err(refuse(match names.as_slice() {
            [] => "no link leaves it".to_owned(),
            _ => format!("several links leave it ({}); attach each host-side device by name", names.join(", ")),
        }));
    };
    let number = netlink::number_of(here, inside)?;
    let is_peer = |link: &Link| {
        link.kind == Some(InfoKind::Veth)
            && Some(link.ifindex) == only.leads_to
            && link.leads_to == Some(only.ifindex)
            && number.is_some()
            && link.other_netns == number
    };
    let far = only.leads_to.map(|index| netlink::link_at(here, index)).transpose()?.flatten();
    far.filter(is_peer)
        .ok_or_else(|| refuse(format!("the far end of its device {} is not in the daemon's namespace", only.name)))
}

/// Whether packets can leave the namespace by this device: a physical one, or one tied to another namespace.
fn leaves(link: &Link) -> bool {
    link.layer != LinkLayerType::Loopback && (link.kind.is_none() || link.other_netns.is_some())
}
