//! From lists to the one table that the kernel searches for an address.
//!
//! Invariant: for every address the table gives the answer of the two-list rule: allowed if any allowed prefix covers it, else
//! denied if any denied prefix does, else allowed by default. The longest prefix alone would give another answer (a narrow denial
//! inside a wide allowance), so what covers a prefix is inherited down to it here, once, in userspace.
//!
//! The families do not touch: each has a tree of its own. Besides `0.0.0.0/0` in a list, which means both, nothing covers both; an
//! IPv6 prefix inside the range that stands for IPv4 is dropped.

use filter_core::{
    Address, Reason,
    abi::{Capture, PolicyFlags, PolicyValue},
    protected,
    table::{First, Node},
};
use ipnet::{IpNet, Ipv4Net};

use crate::{
    Operator, Policy, address,
    table::{self, Range},
};

/// A policy as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The beginning of its table, [`filter_core::table`].
    pub first: First,
    /// Its other nodes.
    pub rest: Vec<Node>,
    /// What the sidecar gets to see.
    pub capture: Capture,
}

/// Compiles `policy` under the operator's configuration. Takes O(n log n); about half a second for a million prefixes.
#[must_use]
pub fn compile(policy: &Policy, operator: &Operator, generation: u32) -> Compiled {
    let capture = capture(policy);
    let names = !policy.names.is_empty();
    let [v4, v6] = items(policy, operator).map(|items| ranges(items, names));
    let (first, rest) = table::build(generation, capture, &v4, &v6);
    Compiled { first, rest, capture }
}

impl Compiled {
    /// The generation that it was compiled as.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.first.generation()
    }

    /// The answer for an address.
    ///
    /// # Panics
    /// When the nodes are no table.
    #[must_use]
    pub fn lookup(&self, address: &Address) -> PolicyValue {
        PolicyValue::find(&self.rest[..], &self.first, address).expect("a table answers for every address")
    }
}

/// A prefix of one of the sets, as its first and last address.
#[derive(Clone, Copy)]
struct Item {
    first: u128,
    last: u128,
    attributes: u8,
}

const ALLOWED: u8 = 1 << 0;
const DENIED: u8 = 1 << 1;
const OPENED: u8 = 1 << 2;
const NAMESERVER: u8 = 1 << 3;
const PROTECTED: u8 = 1 << 4;

/// The distinct prefixes of all sets with the union of their attributes, IPv4 and IPv6 apart, each before what it covers. The first
/// covers all.
fn items(policy: &Policy, operator: &Operator) -> [Vec<Item>; 2] {
    let mut v4 = vec![Item { first: 0, last: u32::MAX.into(), attributes: 0 }];
    let mut v6 = vec![Item { first: 0, last: u128::MAX, attributes: 0 }];
    let mut add = |net: &IpNet, attributes: u8| match net {
        IpNet::V4(net) => {
            let (first, last) = (u32::from(net.network()).into(), u32::from(net.broadcast()).into());
            v4.push(Item { first, last, attributes });
        }
        IpNet::V6(_) if address::is_mapped(net) => {}
        IpNet::V6(net) => {
            v6.push(Item { first: net.network().into(), last: net.broadcast().into(), attributes });
        }
    };
    for (list, attributes) in [(&policy.allow, ALLOWED), (&policy.deny, DENIED)] {
        for entry in list {
            add(&entry.value, attributes);
            if address::is_all_traffic(&entry.value) {
                add(&address::all_v6(), attributes);
            }
        }
    }
    for (network, bits) in protected::V4 {
        add(&Ipv4Net::new_assert((*network).into(), *bits).into(), PROTECTED);
    }
    operator.open_ranges.iter().for_each(|net| add(net, OPENED));
    operator.nameservers.iter().for_each(|host| add(&IpNet::from(*host), NAMESERVER));
    [v4, v6].map(|mut items| {
        items.sort_unstable_by_key(|item| (item.first, std::cmp::Reverse(item.last)));
        items.dedup_by(|next, first| {
            let same = next.first == first.first && next.last == first.last;
            if same {
                first.attributes |= next.attributes;
            }
            same
        });
        items
    })
}

/// Divides all addresses into ranges with one answer each, by the prefixes that cover them.
fn ranges(items: Vec<Item>, names: bool) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::with_capacity(2 * items.len());
    let mut emit = |last: u128, attributes: u8| {
        let answer = answer(attributes, names);
        match ranges.last_mut() {
            Some(range) if range.last >= last => {}
            Some(range) if range.answer == answer => range.last = last,
            _ => ranges.push(Range { last, answer }),
        }
    };
    // The prefixes that cover the current place, with all that they inherited.
    let mut open: Vec<Item> = Vec::new();
    for mut item in items {
        while let Some(ended) = open.pop_if(|above| above.last < item.first) {
            emit(ended.last, ended.attributes);
        }
        if let Some(above) = open.last() {
            item.attributes |= above.attributes;
            if let Some(before) = item.first.checked_sub(1) {
                emit(before, above.attributes);
            }
        }
        open.push(item);
    }
    while let Some(ended) = open.pop() {
        emit(ended.last, ended.attributes);
    }
    ranges
}

fn answer(attributes: u8, names: bool) -> u8 {
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
    if attributes & PROTECTED != 0 && reason != Reason::AddressDenied {
        flags |= PolicyFlags::PROTECTED;
    }
    PolicyValue::answer(reason, flags)
}

/// What the policy needs to be captured.
fn capture(policy: &Policy) -> Capture {
    let needed = [
        (policy.egress_proxy.is_some(), Capture::ALLOWED_TCP),
        (!policy.transforms.is_empty(), Capture::ALLOWED_WEB),
        (!policy.names.is_empty(), Capture::DENIED_WEB),
    ];
    needed.into_iter().filter(|(needed, _)| *needed).fold(Capture::NONE, |all, (_, one)| all.and(one))
}
