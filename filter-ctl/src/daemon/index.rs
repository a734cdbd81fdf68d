//! Finding sandboxes by what they have, without a look at all of them.

use super::node::{Held, prefixes};
use filter_dataplane::{Dataplane, Place};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Who has which slot, device and address.
pub(super) struct Index {
    free: BTreeSet<u32>,
    taken: Taken,
}

/// Who has which device and address.
#[derive(Default)]
pub(super) struct Taken {
    by_device: HashMap<(u64, u32), String>,
    namespaces: HashMap<u64, Inhabitants>,
}

/// The sandboxes of one namespace.
#[derive(Default)]
struct Inhabitants {
    ids: BTreeSet<String>,
    by_prefix: BTreeMap<IpNet, BTreeSet<String>>,
}

impl Index {
    pub(super) fn new() -> Index {
        Index { free: (Dataplane::FIRST_SLOT..filter_core::abi::MAX_SANDBOXES).collect(), taken: Taken::default() }
    }

    /// Takes the first free slot.
    pub(super) fn take_slot(&mut self) -> Option<u32> {
        self.free.pop_first()
    }

    /// Takes this slot; tells whether it was free.
    pub(super) fn occupy(&mut self, slot: u32) -> bool {
        self.free.remove(&slot)
    }

    /// Gives a slot back that nobody has had since a grace period.
    pub(super) fn give_back(&mut self, slot: u32) {
        self.free.insert(slot);
    }

    /// Takes in a sandbox; one without a device has nothing.
    pub(super) fn add(&mut self, held: &Held) {
        if !held.gone {
            let Place { slot, netns_inode, ifindex } = held.place();
            self.occupy(slot);
            self.taken.add(&held.record.document.id, (netns_inode, ifindex), &prefixes(&held.sandbox));
        }
    }

    /// Leaves out a sandbox that was taken in.
    pub(super) fn remove(&mut self, held: &Held) {
        if !held.gone {
            let Place { slot, netns_inode, ifindex } = held.place();
            self.give_back(slot);
            self.taken.remove(&held.record.document.id, (netns_inode, ifindex), &prefixes(&held.sandbox));
        }
    }

    /// The sandbox of a device.
    pub(super) fn at(&self, netns_inode: u64, ifindex: u32) -> Option<&str> {
        self.taken.at(netns_inode, ifindex)
    }

    /// The sandboxes of a namespace.
    pub(super) fn in_namespace(&self, netns_inode: u64) -> impl Iterator<Item = &str> {
        self.taken.namespaces.get(&netns_inode).into_iter().flat_map(|there| there.ids.iter().map(String::as_str))
    }

    /// Prefixes of a namespace's sandboxes that have an address in common with this one, each with whose it is.
    pub(super) fn meeting(&self, netns_inode: u64, prefix: &IpNet) -> Vec<(IpNet, &str)> {
        self.taken.meeting(netns_inode, prefix)
    }
}

impl Taken {
    /// A sandbox takes a device, by namespace and index, and addresses there.
    pub(super) fn add(&mut self, id: &str, device: (u64, u32), prefixes: &[IpNet]) {
        self.by_device.insert(device, id.to_owned());
        let there = self.namespaces.entry(device.0).or_default();
        there.ids.insert(id.to_owned());
        for prefix in prefixes {
            there.by_prefix.entry(prefix.trunc()).or_default().insert(id.to_owned());
        }
    }

    fn remove(&mut self, id: &str, device: (u64, u32), prefixes: &[IpNet]) {
        self.by_device.remove(&device);
        let Some(there) = self.namespaces.get_mut(&device.0) else { return };
        there.ids.remove(id);
        for prefix in prefixes {
            if let Some(ids) = there.by_prefix.get_mut(&prefix.trunc()) {
                ids.remove(id);
                if ids.is_empty() {
                    there.by_prefix.remove(&prefix.trunc());
                }
            }
        }
        if there.ids.is_empty() {
            self.namespaces.remove(&device.0);
        }
    }

    /// The sandbox of a device.
    pub(super) fn at(&self, netns_inode: u64, ifindex: u32) -> Option<&str> {
        self.by_device.get(&(netns_inode, ifindex)).map(String::as_str)
    }

    /// Prefixes of a namespace's sandboxes that have an address in common with this one, each with whose it is.
    pub(super) fn meeting(&self, netns_inode: u64, prefix: &IpNet) -> Vec<(IpNet, &str)> {
        let Some(Inhabitants { by_prefix, .. }) = self.namespaces.get(&netns_inode) else { return Vec::new() };
        let around = (0..prefix.prefix_len()).filter_map(|bits| {
            let wider = IpNet::new(prefix.network(), bits).ok()?.trunc();
            by_prefix.get_key_value(&wider)
        });
        let within = by_prefix.range(prefix.trunc()..=last(prefix));
        around.chain(within).flat_map(|(prefix, ids)| ids.iter().map(|id| (*prefix, id.as_str()))).collect()
    }
}

/// What comes last of all prefixes that begin within this one.
fn last(prefix: &IpNet) -> IpNet {
    match prefix {
        IpNet::V4(v4) => IpNet::V4(Ipv4Net::from(v4.broadcast())),
        IpNet::V6(v6) => IpNet::V6(Ipv6Net::from(v6.broadcast())),
    }
}
