//! Finding sandboxes by what they have, without a look at all of them.

use super::node::{Held, prefixes};
use filter_dataplane::{Dataplane, Place};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Who has which slot, device and address.
pub(super) struct Index {
    free: BTreeSet<u32>,
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
        Index {
            free: (Dataplane::FIRST_SLOT..filter_core::abi::MAX_SANDBOXES).collect(),
            by_device: HashMap::new(),
            namespaces: HashMap::new(),
        }
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
        if held.gone {
            return;
        }
        let Place { slot, netns_inode, ifindex } = held.place();
        let id = held.record.document.id.clone();
        self.occupy(slot);
        self.by_device.insert((netns_inode, ifindex), id.clone());
        let there = self.namespaces.entry(netns_inode).or_default();
        there.ids.insert(id.clone());
        for prefix in prefixes(&held.sandbox) {
            there.by_prefix.entry(prefix.trunc()).or_default().insert(id.clone());
        }
    }

    /// Leaves out a sandbox that was taken in.
    pub(super) fn remove(&mut self, held: &Held) {
        if held.gone {
            return;
        }
        let Place { slot, netns_inode, ifindex } = held.place();
        let id = &held.record.document.id;
        self.give_back(slot);
        self.by_device.remove(&(netns_inode, ifindex));
        let Some(there) = self.namespaces.get_mut(&netns_inode) else { return };
        there.ids.remove(id);
        for prefix in prefixes(&held.sandbox) {
            if let Some(ids) = there.by_prefix.get_mut(&prefix.trunc()) {
                ids.remove(id);
                if ids.is_empty() {
                    there.by_prefix.remove(&prefix.trunc());
                }
            }
        }
        if there.ids.is_empty() {
            self.namespaces.remove(&netns_inode);
        }
    }

    /// The sandbox of a device.
    pub(super) fn at(&self, netns_inode: u64, ifindex: u32) -> Option<&str> {
        self.by_device.get(&(netns_inode, ifindex)).map(String::as_str)
    }

    /// The sandboxes of a namespace.
    pub(super) fn in_namespace(&self, netns_inode: u64) -> impl Iterator<Item = &str> {
        self.namespaces.get(&netns_inode).into_iter().flat_map(|there| there.ids.iter().map(String::as_str))
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
