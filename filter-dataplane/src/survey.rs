//! The devices and addresses of a namespace, followed from change to change.

use crate::device;
use crate::netlink::{self, DeviceAddress, Link};
use crate::{Error, Namespace};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// More changes than this are looked up all at once.
const MANY: usize = 256;

/// The devices and addresses of a namespace.
pub struct Survey {
    inode: u64,
    number: Option<i32>,
    devices: BTreeMap<u32, (Link, Vec<DeviceAddress>)>,
    ports: BTreeSet<(u32, u32)>,
    /// How many devices have an address.
    addresses: BTreeMap<IpAddr, u32>,
}

/// What is behind a device: the device itself, or the bridge that it is a port of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its index, if it is a bridge.
    pub bridge: Option<u32>,
}

/// What has changed about one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its index.
    pub ifindex: u32,
    /// The addresses that it had.
    pub before: Vec<DeviceAddress>,
    /// The addresses that it has.
    pub now: Vec<DeviceAddress>,
    /// Whether it is gone.
    pub gone: bool,
}

impl Survey {
    /// Begins to follow a namespace: nothing is known of it until [`Self::refresh_all`]. The daemon's namespace gets to number it, which
    /// is what its notices come under.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn begin(namespace: &Namespace) -> Result<Survey, Error> {
        let own = Namespace::own()?;
        let is_own = own.inode() == namespace.inode();
        let number = if is_own { None } else { netlink::give_number(&own, namespace)? };
        Ok(Survey {
            inode: namespace.inode(),
            number,
            devices: BTreeMap::new(),
            ports: BTreeSet::new(),
            addresses: BTreeMap::new(),
        })
    }

    /// What tells the namespace from every other one that is alive.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The number that its notices come under; `None` for the daemon's own.
    #[must_use]
    pub fn number(&self) -> Option<i32> {
        self.number
    }

    /// Looks at everything; tells what has changed.
    ///
    /// # Errors
    /// When the namespace cannot be entered or asked.
    pub fn refresh_all(&mut self, namespace: &Namespace) -> Result<Vec<Change>, Error> {
        let mut addresses: BTreeMap<u32, Vec<DeviceAddress>> = BTreeMap::new();
        for address in netlink::addresses(namespace)? {
            addresses.entry(address.ifindex).or_default().push(address);
        }
        let mut found: BTreeMap<u32, _> = netlink::links(namespace)?
            .into_iter()
            .map(|link| (link.ifindex, (addresses.remove(&link.ifindex).unwrap_or_default(), link)))
            .collect();
        let known: BTreeSet<u32> = self.devices.keys().chain(found.keys()).copied().collect();
        let put = |ifindex| self.put(ifindex, found.remove(&ifindex).map(|(addresses, link)| (link, addresses)));
        Ok(known.into_iter().filter_map(put).collect())
    }

    /// Looks at some devices; tells what has changed.
    ///
    /// # Errors
    /// As [`Self::refresh_all`].
    pub fn refresh(&mut self, namespace: &Namespace, indexes: &[u32]) -> Result<Vec<Change>, Error> {
        if indexes.len() > MANY {
            return self.refresh_all(namespace);
        }
        let mut found: BTreeMap<u32, _> =
            netlink::devices(namespace, indexes)?.into_iter().map(|device| (device.0.ifindex, device)).collect();
        Ok(indexes.iter().filter_map(|ifindex| self.put(*ifindex, found.remove(ifindex))).collect())
    }

    /// All addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &DeviceAddress> {
        self.devices.values().flat_map(|(_, addresses)| addresses)
    }

    /// An address of the namespace in a prefix, if there is one.
    #[must_use]
    pub fn address_in(&self, prefix: &IpNet) -> Option<IpAddr> {
        self.addresses.range(prefix.network()..=prefix.broadcast()).next().map(|(address, _)| *address)
    }

    /// The gateway behind a device.
    #[must_use]
    pub fn gateway(&self, ifindex: u32) -> Option<Gateway> {
        let (link, _) = self.devices.get(&ifindex)?;
        let (side, addresses) = self.devices.get(&link.controller.unwrap_or(ifindex))?;
        let addresses = addresses.iter().map(|entry| entry.address.addr()).collect();
        Some(Gateway { mac: side.mac?, addresses, bridge: device::bridge(side) })
    }

    /// Indexes of the ports of a bridge.
    pub fn ports(&self, bridge: u32) -> impl Iterator<Item = u32> {
        self.ports.range((bridge, 0)..=(bridge, u32::MAX)).map(|(_, port)| *port)
    }

    fn put(&mut self, ifindex: u32, mut device: Option<(Link, Vec<DeviceAddress>)>) -> Option<Change> {
        if let Some((link, _)) = &mut device {
            // Packets that come are no change.
            link.received = 0;
        }
        if self.devices.get(&ifindex) == device.as_ref() {
            return None;
        }
        let old = match &device {
            Some(device) => self.devices.insert(ifindex, device.clone()),
            None => self.devices.remove(&ifindex),
        };
        let (gone, now) =
            (device.is_none(), device.as_ref().map(|(_, addresses)| addresses.clone()).unwrap_or_default());
        if let Some(bridge) = old.as_ref().and_then(|(link, _)| link.controller) {
            self.ports.remove(&(bridge, ifindex));
        }
        if let Some(bridge) = device.and_then(|(link, _)| link.controller) {
            self.ports.insert((bridge, ifindex));
        }
        let before = old.map(|(_, addresses)| addresses).unwrap_or_default();
        for entry in &now {
            *self.addresses.entry(entry.address.addr()).or_default() += 1;
        }
        for entry in &before {
            let address = entry.address.addr();
            match self.addresses.get_mut(&address) {
                Some(count @ 2..) => *count -= 1,
                _ => drop(self.addresses.remove(&address)),
            }
        }
        Some(Change { ifindex, before, now, gone })
    }
}
