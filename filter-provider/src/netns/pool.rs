//! Addresses: which there are, and which are taken.
//!
//! Invariant: a number stands for one pair of addresses of each family, and whoever has a number has all of its addresses. Pairs are a /31
//! (RFC 3021) and a /127 (RFC 6164): the host's address is the even one.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most sandboxes of one pool.
pub(super) const MAX: u32 = 65_536;

/// Ranges that no sandbox can have addresses of, for they mean something else everywhere.
const NEVER: [&str; 10] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "fe80::/10",
    "ff00::/8",
];

/// The addresses that sandboxes can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pool {
    pub(super) prefixes: Vec<IpNet>,
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
    pub(super) size: u32,
}

/// The addresses of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair<A> {
    pub(super) host: A,
    pub(super) sandbox: A,
}

/// The addresses of one sandbox; of one family at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) v4: Option<Pair<Ipv4Addr>>,
    pub(super) v6: Option<Pair<Ipv6Addr>>,
}

impl Pool {
    pub(super) fn new(prefixes: &[IpNet]) -> Result<Pool, String> {
        let prefixes: Vec<IpNet> = prefixes.iter().map(IpNet::trunc).collect();
        for (n, one) in prefixes.iter().enumerate() {
            if one.prefix_len() == one.max_prefix_len() {
                return Err(format!("{one} is one address; a sandbox takes two"));
            }
            let never = NEVER.iter().filter_map(|text| text.parse().ok()).find(|range| overlap(one, range));
            if let Some(range) = never {
                return Err(format!("{one} overlaps {range}, of which no sandbox can have an address"));
            }
            if let Some(other) = prefixes[..n].iter().find(|other| overlap(one, other)) {
                return Err(format!("{other} and {one} overlap"));
            }
        }
        let v4: Vec<Ipv4Net> =
            prefixes.iter().filter_map(|net| if let IpNet::V4(net) = net { Some(*net) } else { None }).collect();
        let v6: Vec<Ipv6Net> =
            prefixes.iter().filter_map(|net| if let IpNet::V6(net) = net { Some(*net) } else { None }).collect();
        let sum = |pairs: &mut dyn Iterator<Item = u32>| pairs.fold(0, |sum: u32, pairs| (sum + pairs).min(MAX));
        let sizes = [
            (!v4.is_empty()).then(|| sum(&mut v4.iter().map(|net| pairs(32 - net.prefix_len())))),
            (!v6.is_empty()).then(|| sum(&mut v6.iter().map(|net| pairs(128 - net.prefix_len())))),
        ];
        let size = sizes.into_iter().flatten().min().ok_or("is empty")?;
        Ok(Pool { prefixes, v4, v6, size })
    }

    /// The addresses of a number below [`Self::size`].
    pub(super) fn addresses(&self, number: u32) -> Addresses {
        let v4 = place(self.v4.iter().map(|net| (net.network(), pairs(32 - net.prefix_len()))), number);
        let v6 = place(self.v6.iter().map(|net| (net.network(), pairs(128 - net.prefix_len()))), number);
        Addresses {
            v4: v4.map(|(base, n)| {
                let host = u32::from(base) + 2 * n;
                Pair { host: host.into(), sandbox: (host + 1).into() }
            }),
            v6: v6.map(|(base, n)| {
                let host = u128::from(base) + 2 * u128::from(n);
                Pair { host: host.into(), sandbox: (host + 1).into() }
            }),
        }
    }

    /// The number that an address belongs to, if it is in reach.
    pub(super) fn number(&self, address: IpAddr) -> Option<u32> {
        let mut before = 0;
        let number = match address {
            IpAddr::V4(address) => self.v4.iter().find_map(|net| {
                let first = before;
                before += pairs(32 - net.prefix_len());
                net.contains(&address).then(|| first + (u32::from(address) - u32::from(net.network())) / 2)
            }),
            IpAddr::V6(address) => self.v6.iter().find_map(|net| {
                let first = before;
                before += pairs(128 - net.prefix_len());
                let far = net.contains(&address).then(|| (u128::from(address) - u128::from(net.network())) / 2)?;
                u32::try_from(far).ok()?.checked_add(first)
            }),
        };
        number.filter(|number| *number < self.size)
    }
}

/// How many pairs a prefix with so many free bits has, but for those that nobody can get.
fn pairs(bits: u8) -> u32 {
    if bits > 16 { MAX } else { 1 << (bits - 1) }
}

fn place<A>(nets: impl Iterator<Item = (A, u32)>, number: u32) -> Option<(A, u32)> {
    let mut left = number;
    for (base, pairs) in nets {
        if left < pairs {
            return Some((base, left));
        }
        left -= pairs;
    }
    None
}

pub(super) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// Who has which numbers.
///
/// Numbers are given in turn: one that was freed comes again as late as can be, when the host has forgotten its connections.
#[derive(Debug, Default)]
pub(super) struct Taken {
    of: BTreeMap<String, BTreeSet<u32>>,
    all: BTreeSet<u32>,
    next: u32,
}

impl Taken {
    /// Gives the next free number below `size`; `None` when there is none.
    pub(super) fn give(&mut self, id: &str, size: u32) -> Option<u32> {
        let number = (self.next..size).chain(0..self.next.min(size)).find(|number| !self.all.contains(number))?;
        self.next = number + 1;
        self.note(id, number);
        Some(number)
    }

    /// Notes that somebody has a number.
    pub(super) fn note(&mut self, id: &str, number: u32) {
        self.of.entry(id.to_owned()).or_default().insert(number);
        self.all.insert(number);
    }

    /// Frees all that somebody has.
    pub(super) fn free(&mut self, id: &str) {
        for number in self.of.remove(id).unwrap_or_default() {
            if !self.of.values().any(|numbers| numbers.contains(&number)) {
                self.all.remove(&number);
            }
        }
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.of.contains_key(id)
    }

    /// What somebody has.
    pub(super) fn numbers(&self, id: &str) -> Vec<u32> {
        self.of.get(id).into_iter().flatten().copied().collect()
    }

    pub(super) fn sandboxes(&self) -> usize {
        self.of.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(prefixes: &[&str]) -> Result<Pool, String> {
        Pool::new(&prefixes.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn numbers_and_addresses_belong_together() {
        let pool = pool(&["198.51.100.0/31", "203.0.113.0/29", "2001:db8:7::/64"]).unwrap();
        assert_eq!(pool.size, 5);
        let mut seen = BTreeSet::new();
        for number in 0..pool.size {
            let Addresses { v4: Some(v4), v6: Some(v6) } = pool.addresses(number) else { panic!("{number}") };
            for address in [IpAddr::V4(v4.host), v4.sandbox.into(), v6.host.into(), v6.sandbox.into()] {
                assert!(seen.insert(address), "{address}");
                assert_eq!(pool.number(address), Some(number), "{address}");
                assert!(pool.prefixes.iter().any(|net| net.contains(&address)), "{address}");
            }
        }
        assert_eq!(pool.addresses(1).v4.unwrap().sandbox, Ipv4Addr::new(203, 0, 113, 1));
        for outside in ["198.51.100.2", "2001:db8:7::a", "2001:db8:7:0:ffff:ffff:ffff:ffff", "2001:db8:8::"] {
            assert_eq!(pool.number(outside.parse().unwrap()), None, "{outside}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        for (prefixes, size) in [
            (&["10.0.0.0/8"][..], MAX),
            (&["fd00::/8"], MAX),
            (&["1.0.0.0/15", "4.0.0.0/15"], MAX),
            (&["fd00::/112", "fd01::/127"], 32_769),
            (&["10.0.0.0/24", "fd00::/64"], 128),
            (&["10.0.0.0/24", "fd00::/126"], 2),
        ] {
            let pool = pool(prefixes).unwrap();
            assert_eq!(pool.size, size, "{prefixes:?}");
            let last = pool.addresses(size - 1);
            assert_eq!(last.v4.is_some(), prefixes.iter().any(|text| text.contains('.')));
            assert_eq!(last.v6.is_some(), prefixes.iter().any(|text| text.contains(':')));
        }
    }

    #[test]
    fn a_pool_makes_sense() {
        for (prefixes, complaint) in [
            (&[][..], "empty"),
            (&["10.0.0.1/32"], "one address"),
            (&["fd00::1/128"], "one address"),
            (&["10.0.0.0/8", "10.1.0.0/16"], "overlap"),
            (&["fd00::/64", "fd00::/64"], "overlap"),
            (&["127.0.0.0/24"], "127.0.0.0/8"),
            (&["0.0.0.0/0"], "0.0.0.0/8"),
            (&["fe80::/64"], "fe80::/10"),
        ] {
            let error = pool(prefixes).unwrap_err();
            assert!(error.contains(complaint), "{prefixes:?}: {error}");
        }
    }

    #[test]
    fn a_freed_number_comes_again_last() {
        let mut taken = Taken::default();
        assert_eq!([taken.give("a", 3), taken.give("b", 3)], [Some(0), Some(1)]);
        taken.free("a");
        assert_eq!([taken.give("c", 3), taken.give("d", 3), taken.give("e", 3)], [Some(2), Some(0), None]);
        taken.free("nobody");
        // Two that were recalled with the same number: it is free when both are gone.
        taken.note("f", 1);
        taken.free("b");
        assert_eq!(taken.give("g", 3), None);
        taken.free("f");
        assert_eq!(taken.give("g", 3), Some(1));
        assert_eq!(taken.sandboxes(), 3);
    }
}
