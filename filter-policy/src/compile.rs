//! From lists to the one trie that the kernel looks an address up in.
//!
//! Invariant: for every address, the longest prefix of the trie that covers it carries the answer of the two-list rule: allowed
//! if any allowed prefix covers it, else denied if any denied prefix does, else allowed by default. Longest prefix alone gives
//! another answer (a narrow denial inside a wide allowance), so what covers a prefix is inherited down to it here, once, in
//! userspace.
//!
//! The families do not touch: IPv4 lives below `::ffff:0:0/96`, which always has an entry and inherits nothing; an IPv6 prefix
//! inside that range is dropped. Besides `0.0.0.0/0` in a list, which means both families, nothing covers both.

use filter_core::{
    Address, Reason,
    abi::{Capture, PolicyFlags, PolicyValue},
};
use ipnet::IpNet;

use crate::{Operator, Policy, address};

/// A policy as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The trie's prefixes, by address and then by length; `::/0` comes first. None repeats the value of the one above it.
    pub entries: Vec<CompiledEntry>,
    /// What the sidecar gets to see; the same in every value.
    pub capture: Capture,
    /// For each entry, the index of the nearest one that covers it; its own index for a root.
    parents: Vec<u32>,
}

/// A prefix and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompiledEntry {
    /// The network, host bits zero.
    pub address: Address,
    /// Length of the prefix, 0 to 128; IPv4 prefixes count from 96.
    pub bits: u32,
    /// The answer.
    pub value: PolicyValue,
}

/// Compiles `policy` under the operator's configuration. Takes O(n log n); about a second for a million prefixes.
#[must_use]
pub fn compile(policy: &Policy, operator: &Operator, generation: u32) -> Compiled {
    let capture = capture(policy);
    let names = !policy.names.is_empty();
    let items = items(policy, operator);
    let mut compiled =
        Compiled { entries: Vec::with_capacity(items.len()), capture, parents: Vec::with_capacity(items.len()) };
    let mut above: Vec<Level> = Vec::new();
    for item in items {
        while above.last().is_some_and(|level| !covers(level.address, level.bits, item.address)) {
            above.pop();
        }
        let barrier = item.is_v4_root();
        let parent = above.last();
        let inherited = parent.filter(|_| !barrier).map_or(0, |level| level.attributes);
        let attributes = item.attributes | inherited;
        let value = value(attributes, names, capture, generation);
        let entry = match parent {
            Some(level) if !barrier && compiled.entries[level.entry as usize].value == value => level.entry,
            _ => compiled.emit(&item, value, parent.map(|level| level.entry)),
        };
        above.push(Level { address: item.address, bits: item.bits, attributes, entry });
    }
    compiled
}

impl Compiled {
    /// The answer for an address: that of the longest prefix which covers it.
    #[must_use]
    pub fn lookup(&self, address: &Address) -> PolicyValue {
        let wanted = number(address);
        let after = self.entries.partition_point(|entry| number(&entry.address) <= wanted);
        let mut at = after.saturating_sub(1);
        while !covers(number(&self.entries[at].address), self.entries[at].bits, wanted) {
            at = self.parents[at] as usize;
        }
        self.entries[at].value
    }

    fn emit(&mut self, item: &Item, value: PolicyValue, parent: Option<u32>) -> u32 {
        let index = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(CompiledEntry { address: Address(item.address.to_be_bytes()), bits: item.bits, value });
        self.parents.push(parent.unwrap_or(index));
        index
    }
}

/// A prefix of one of the sets.
struct Item {
    address: u128,
    bits: u32,
    attributes: u8,
}

impl Item {
    fn is_v4_root(&self) -> bool {
        self.address == V4_ROOT && self.bits == V4_BITS
    }
}

/// A prefix on the way down to the current one.
struct Level {
    address: u128,
    bits: u32,
    /// Its own attributes and all that it inherited.
    attributes: u8,
    /// The emitted entry that answers for it.
    entry: u32,
}

const ALLOWED: u8 = 1 << 0;
const DENIED: u8 = 1 << 1;
const OPENED: u8 = 1 << 2;
const NAMESERVER: u8 = 1 << 3;

const V4_BITS: u32 = 96;
const V4_ROOT: u128 = 0xffff_0000_0000;

/// The distinct prefixes of all sets with the union of their attributes, each before what it covers.
fn items(policy: &Policy, operator: &Operator) -> Vec<Item> {
    let mut items = Vec::with_capacity(policy.allow.len() + policy.deny.len() + 8);
    items.push(Item { address: 0, bits: 0, attributes: 0 });
    items.push(Item { address: V4_ROOT, bits: V4_BITS, attributes: 0 });
    for (list, attributes) in [(&policy.allow, ALLOWED), (&policy.deny, DENIED)] {
        for entry in list {
            items.extend(item(&entry.value, attributes));
            if address::is_all_traffic(&entry.value) {
                items.extend(item(&address::all_v6(), attributes));
            }
        }
    }
    items.extend(operator.open_ranges.iter().filter_map(|net| item(net, OPENED)));
    items.extend(operator.nameservers.iter().filter_map(|host| item(&IpNet::from(*host), NAMESERVER)));
    items.sort_unstable_by_key(|item| (item.address, item.bits));
    items.dedup_by(|next, first| {
        let same = next.address == first.address && next.bits == first.bits;
        if same {
            first.attributes |= next.attributes;
        }
        same
    });
    items
}

/// The prefix in the one address space; nothing for an IPv6 prefix inside the range that stands for IPv4.
fn item(net: &IpNet, attributes: u8) -> Option<Item> {
    if address::is_mapped(net) {
        return None;
    }
    let net = net.trunc();
    let bits = u32::from(net.prefix_len()) + if matches!(net, IpNet::V4(_)) { V4_BITS } else { 0 };
    Some(Item { address: number(&Address::from(net.addr())), bits, attributes })
}

fn value(attributes: u8, names: bool, capture: Capture, generation: u32) -> PolicyValue {
    let reason = if attributes & ALLOWED != 0 {
        Reason::AllowedByList
    } else if attributes & DENIED != 0 {
        Reason::AddressDenied
    } else {
        Reason::AllowedByDefault
    };
    let mut flags = 0;
    if attributes & OPENED != 0 {
        flags |= PolicyFlags::OPENED;
    }
    if attributes & NAMESERVER != 0 {
        flags |= PolicyFlags::NAMESERVER;
        if names {
            flags |= PolicyFlags::NAMESERVER_ALLOWED;
        }
    }
    PolicyValue { generation, reason: reason.number(), capture: capture as u8, flags, pad: 0 }
}

/// The widest capture that the policy needs.
fn capture(policy: &Policy) -> Capture {
    if policy.egress_proxy.is_some() {
        Capture::AllTcp
    } else if !policy.transforms.is_empty() {
        Capture::AllWeb
    } else if !policy.names.is_empty() {
        Capture::DeniedWeb
    } else {
        Capture::None
    }
}

fn number(address: &Address) -> u128 {
    u128::from_be_bytes(address.0)
}

fn covers(network: u128, bits: u32, address: u128) -> bool {
    bits == 0 || (network ^ address) >> (128 - bits) == 0
}
