//! Addresses that no entry names: what stands for the address of a name that nobody is to resolve.
//!
//! Invariant: at most the entries for all traffic cover such an address, no fixed protected range does, and no range that the operator has opened.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use filter_core::protected;
use ipnet::IpNet;

use crate::{Operator, Policy, address};

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// IPv6 ranges that embed IPv4 addresses, which are judged too: Teredo and 6to4.
const EMBEDDING: [(u128, u8); 2] = [(0x2001 << 112, 32), (0x2002 << 112, 16)];

impl Family {
    /// Where to look first: addresses for documentation are nobody's.
    fn first(self) -> u128 {
        match self {
            Family::V4 => u32::from(Ipv4Addr::new(192, 0, 2, 1)).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        }
    }

    /// All of its unicast space.
    fn space(self) -> (u128, u128) {
        match self {
            Family::V4 => (1 << 24, 0xdfff_ffff),
            Family::V6 => (0x2000 << 112, (0x4000 << 112) - 1),
        }
    }

    fn address(self, number: u128) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            Family::V6 => Ipv6Addr::from(number).into(),
        }
    }

    fn range(self, net: &IpNet) -> Option<(u128, u128)> {
        match (self, net) {
            (Family::V4, IpNet::V4(net)) => Some((u32::from(net.network()).into(), u32::from(net.broadcast()).into())),
            (Family::V6, IpNet::V6(net)) => Some((net.network().into(), net.broadcast().into())),
            _ => None,
        }
    }

    /// Ranges that are out of the question whatever a policy says.
    fn excluded(self) -> Vec<(u128, u128)> {
        let embedding = EMBEDDING.iter().filter_map(|(net, bits)| IpNet::new(Ipv6Addr::from(*net).into(), *bits).ok());
        let fixed = protected::V4.iter().filter_map(|(net, bits)| IpNet::new(IpAddr::from(*net), *bits).ok());
        embedding.chain(fixed).filter_map(|net| self.range(&net)).collect()
    }
}

/// One address from each gap between what the policy and the operator name; nothing when they name everything.
pub fn addresses(policy: &Policy, operator: &Operator, family: Family) -> impl Iterator<Item = IpAddr> + use<> {
    let listed = policy.allow.iter().chain(&policy.deny).map(|entry| &entry.value);
    let narrow = listed.filter(|net| !is_everything(net)).chain(&operator.open_ranges);
    let hosts = operator.nameservers.iter().map(|host| IpNet::from(*host));
    let mut named: Vec<(u128, u128)> = narrow.copied().chain(hosts).filter_map(|net| family.range(&net)).collect();
    named.extend(family.excluded());
    named.sort_unstable();
    let (begin, end) = family.space();
    let first = family.first();
    let gaps = gaps(&named, first, end).chain(gaps(&named, begin, first - 1));
    gaps.map(move |number| family.address(number)).collect::<Vec<_>>().into_iter()
}

/// The first number of each gap between sorted ranges.
fn gaps(ranges: &[(u128, u128)], begin: u128, end: u128) -> impl Iterator<Item = u128> {
    let behind = [(end + 1, u128::MAX)];
    let mut next = begin;
    ranges.iter().copied().chain(behind).filter_map(move |(first, last)| {
        let gap = (next < first && next <= end).then_some(next);
        next = next.max(last.saturating_add(1));
        gap
    })
}

/// Entries that say something of all addresses name none.
fn is_everything(net: &IpNet) -> bool {
    address::is_all_traffic(net) || *net == address::all_v6()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, explain, validate_network};
    use filter_core::Address;
    use proptest::prelude::*;

    fn policy(allow: &[String], deny: &[String]) -> Policy {
        let network = serde_json::json!({ "allowOut": allow, "denyOut": deny });
        validate_network(&serde_json::from_value(network).unwrap(), None, &Limits::default()).unwrap().0
    }

    fn found(allow: &[&str], deny: &[&str], family: Family) -> Option<String> {
        let [allow, deny] = [allow, deny].map(|list| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        addresses(&policy(&allow, &deny), &Operator::default(), family).next().map(|address| address.to_string())
    }

    #[test]
    fn the_first_is_for_documentation_unless_it_is_listed() {
        assert_eq!(found(&[], &["0.0.0.0/0"], Family::V4).unwrap(), "192.0.2.1");
        assert_eq!(found(&[], &["0.0.0.0/0"], Family::V6).unwrap(), "2001:db8::1");
        assert_eq!(found(&["192.0.2.0/24"], &["0.0.0.0/0"], Family::V4).unwrap(), "192.0.3.0");
        assert_eq!(found(&["192.0.0.0/2"], &["::/0"], Family::V4).unwrap(), "1.0.0.0");
        assert_eq!(found(&["2001::/16"], &[], Family::V6).unwrap(), "2003::");
        assert_eq!(found(&["1.0.0.0/1"], &["128.0.0.0/1"], Family::V4), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn no_entry_names_them(
            allow in proptest::collection::vec(r"(19[0-9]|2[0-4][0-9]|1)\.[0-2]\.[0-3]\.0/([89]|[12][0-9])", 0..5),
            deny in proptest::collection::vec(r"2[0-9]{3}(:db[0-9])?::/(1[6-9]|[2-6][0-9])", 0..5),
        ) {
            let policy = policy(&allow, &deny);
            for family in [Family::V4, Family::V6] {
                let found: Vec<IpAddr> = addresses(&policy, &Operator::default(), family).collect();
                prop_assert!(!found.is_empty());
                for address in found {
                    let address = Address::from(address);
                    let origin = explain::origin(&policy, &Operator::default(), &address);
                    prop_assert_eq!(origin.decided, explain::Decided::Default);
                    prop_assert!(!origin.nameserver && origin.opened.is_none() && !protected::covers(&address));
                }
            }
        }
    }
}
