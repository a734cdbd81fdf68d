//! The compiled table against the two-list rule, for random lists.
//!
//! The model below scans the lists for every address. It shares no code with the compiler and knows no tree.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use filter_core::{
    Address, Reason,
    abi::{Capture, PolicyFlags, PolicyValue},
    protected,
};
use filter_policy::{Entry, Operator, Policy, compile, explain, names::NamePattern};
use ipnet::IpNet;
use proptest::prelude::*;

const GENERATION: u32 = 7;

/// At least a hundred thousand cases; more when `PROPTEST_CASES` asks for more.
fn cases() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(asked.max(100_000)) }
}

/// Everything that decides about an address.
#[derive(Clone, Debug)]
struct Case {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    open: Vec<IpNet>,
    nameservers: Vec<IpAddr>,
    names: bool,
}

impl Case {
    fn policy(&self) -> Policy {
        let names = if self.names { vec![entry(0, NamePattern::Any)] } else { Vec::new() };
        Policy { allow: entries(&self.allow), deny: entries(&self.deny), names, ..Policy::default() }
    }

    fn operator(&self) -> Operator {
        Operator { open_ranges: self.open.clone(), nameservers: self.nameservers.clone(), ..Operator::default() }
    }

    /// The edges of every prefix, their neighbours, and some more.
    fn probes(&self) -> Vec<Address> {
        let hosts = self.nameservers.iter().map(|host| IpNet::from(*host)).collect::<Vec<_>>();
        let mut probes = Vec::new();
        for net in self.allow.iter().chain(&self.deny).chain(&self.open).chain(&hosts) {
            for edge in [net.network(), net.broadcast()] {
                let number = u128::from_be_bytes(Address::from(edge).octets());
                probes.extend([number, number.wrapping_sub(1), number.wrapping_add(1)]);
            }
        }
        let anchors = V6_ANCHORS.iter().map(|text| Address::from(IpAddr::V6(text.parse().unwrap())));
        let v4 = V4_ANCHORS.iter().map(|anchor| Address::v4(*anchor));
        probes.extend(anchors.chain(v4).map(|address| u128::from_be_bytes(address.octets())));
        probes.into_iter().map(|number| Address::new(number.to_be_bytes())).collect()
    }
}

fn entries(nets: &[IpNet]) -> Vec<Entry<IpNet>> {
    nets.iter().zip(0..).map(|(net, index)| entry(index, *net)).collect()
}

fn entry<T>(index: u32, value: T) -> Entry<T> {
    Entry { value, text: format!("entry {index}"), index }
}

mod model {
    //! The rule as the documentation states it.

    use super::*;

    /// An address of one family: whether it is IPv4, and its bits from the left.
    fn bits(address: &Address) -> (bool, u128) {
        let number = u128::from_be_bytes(address.octets());
        if number >> 32 == 0xffff { (true, number << 96) } else { (false, number) }
    }

    /// Whether a prefix covers an address of the same family. A mapped IPv6 prefix covers nothing: such an address is IPv4.
    pub(super) fn covers(net: &IpNet, address: &Address) -> bool {
        let (is_v4, wanted) = bits(address);
        let (network, length) = match net {
            IpNet::V4(net) if is_v4 => ((u32::from(net.addr()) as u128) << 96, net.prefix_len()),
            IpNet::V6(net) if !is_v4 => (u128::from(net.addr()), net.prefix_len()),
            _ => return false,
        };
        (0..length).all(|bit| network.rotate_left(u32::from(bit) + 1) & 1 == wanted.rotate_left(u32::from(bit) + 1) & 1)
    }

    /// Whether a list covers an address: `0.0.0.0/0` is all traffic, of both families.
    pub(super) fn listed(list: &[IpNet], address: &Address) -> bool {
        list.iter().any(|net| covers(net, address) || matches!(net, IpNet::V4(v4) if v4.prefix_len() == 0))
    }

    /// The whole value that the kernel must find.
    pub(super) fn value(case: &Case, address: &Address) -> PolicyValue {
        let reason = if listed(&case.allow, address) {
            Reason::AllowedByList
        } else if listed(&case.deny, address) {
            Reason::AddressDenied
        } else {
            Reason::AllowedByDefault
        };
        let mut flags = 0;
        if case.open.iter().any(|net| covers(net, address)) {
            flags |= PolicyFlags::OPENED;
        }
        if case.nameservers.iter().any(|host| covers(&IpNet::from(*host), address)) {
            flags |= PolicyFlags::NAMESERVER;
            if case.names {
                flags |= PolicyFlags::NAMESERVER_ALLOWED;
            }
        }
        if reason != Reason::AddressDenied && address.is_v4() && protected::covers(address) {
            flags |= PolicyFlags::PROTECTED;
        }
        let capture = if case.names { Capture::DENIED_WEB } else { Capture::NONE };
        PolicyValue { generation: GENERATION, reason: reason.number(), capture: capture.0, flags }
    }
}

/// Where prefixes cluster, so that they nest and collide.
const V4_ANCHORS: &[[u8; 4]] = &[
    [0, 0, 0, 0],
    [8, 8, 8, 8],
    [8, 8, 8, 9],
    [10, 1, 2, 3],
    [127, 255, 255, 255],
    [128, 0, 0, 0],
    [255, 255, 255, 255],
];

/// Beside ordinary ones: both edges of the range that stands for IPv4, inside and outside, and both ends of everything.
const V6_ANCHORS: &[&str] = &[
    "::",
    "::1",
    "::8.8.8.8",
    "::fffe:ffff:ffff",
    "::ffff:0:0",
    "::ffff:8.8.8.8",
    "::ffff:ffff:ffff",
    "::1:0:0:0",
    "2001:db8::",
    "2001:db8::1",
    "2001:db8:0:1::",
    "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "8000::",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

fn v4_net() -> impl Strategy<Value = IpNet> {
    let address = prop_oneof![4 => prop::sample::select(V4_ANCHORS).prop_map(u32::from_be_bytes), 1 => any::<u32>()];
    let bits = prop_oneof![2 => prop::sample::select(&[0u8, 1, 8, 24, 30, 31, 32][..]), 1 => 0..=32u8];
    (address, bits).prop_map(|(address, bits)| IpNet::new(Ipv4Addr::from(address).into(), bits).unwrap())
}

fn v6_net() -> impl Strategy<Value = IpNet> {
    let anchor = prop::sample::select(V6_ANCHORS).prop_map(|text| u128::from(text.parse::<Ipv6Addr>().unwrap()));
    let address = prop_oneof![6 => anchor, 1 => any::<u128>(), 1 => any::<u32>().prop_map(|low| 0xffff_0000_0000 | u128::from(low))];
    let edges = &[0u8, 1, 32, 63, 64, 79, 80, 81, 95, 96, 97, 104, 120, 127, 128][..];
    let bits = prop_oneof![3 => prop::sample::select(edges), 1 => 0..=128u8];
    (address, bits).prop_map(|(address, bits)| IpNet::new(Ipv6Addr::from(address).into(), bits).unwrap())
}

fn list(most: usize) -> impl Strategy<Value = Vec<IpNet>> {
    prop::collection::vec(prop_oneof![v4_net(), v6_net()], 0..=most)
}

fn case() -> impl Strategy<Value = Case> {
    let nameservers = prop::collection::vec(prop_oneof![v4_net(), v6_net()].prop_map(|net| net.addr()), 0..=2);
    (list(5), list(5), list(2), nameservers, any::<bool>()).prop_map(|(allow, deny, open, nameservers, names)| Case {
        allow,
        deny,
        open,
        nameservers,
        names,
    })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn one_table_answers_like_two_lists(case in case()) {
        let (policy, operator) = (case.policy(), case.operator());
        let compiled = compile(&policy, &operator, GENERATION);
        for address in case.probes() {
            let expected = model::value(&case, &address);
            prop_assert_eq!(compiled.lookup(&address), expected, "the table, at {:?}", IpAddr::from(address));
            let origin = explain::origin(&policy, &operator, &address);
            let reason = Reason::from_number(expected.reason).unwrap();
            prop_assert_eq!(origin.decided.allows(), reason.allows(), "explain, at {:?}", IpAddr::from(address));
            prop_assert_eq!(origin.decided.field().is_none(), reason == Reason::AllowedByDefault);
            prop_assert_eq!(origin.opened.is_some(), expected.flags & PolicyFlags::OPENED != 0);
            prop_assert_eq!(origin.nameserver, expected.flags & PolicyFlags::NAMESERVER != 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5_000) })]

    #[test]
    fn order_and_repetition_do_not_count(case in case()) {
        let compiled = compile(&case.policy(), &case.operator(), GENERATION);
        let mut other = case.clone();
        for list in [&mut other.allow, &mut other.deny, &mut other.open] {
            list.reverse();
            list.extend(list.clone());
        }
        prop_assert_eq!(compile(&other.policy(), &other.operator(), GENERATION), compiled);
    }
}

/// One address, judged by lists as people write them.
fn judged(allow: &[&str], deny: &[&str], address: &str) -> Reason {
    let nets = |list: &[&str]| list.iter().map(|text| filter_policy::address::prefix(text).unwrap()).collect();
    let case = Case { allow: nets(allow), deny: nets(deny), open: vec![], nameservers: vec![], names: false };
    let compiled = compile(&case.policy(), &case.operator(), GENERATION);
    let address = Address::from(address.parse::<IpAddr>().unwrap());
    let value = compiled.lookup(&address);
    assert_eq!(value, model::value(&case, &address));
    Reason::from_number(value.reason).unwrap()
}

#[test]
fn cases_that_others_got_wrong() {
    use Reason::{AddressDenied, AllowedByDefault, AllowedByList};
    for (allow, deny, address, reason) in [
        (&[][..], &[][..], "8.8.8.8", AllowedByDefault),
        (&["8.8.8.0/24"][..], &["8.8.8.8/32"][..], "8.8.8.8", AllowedByList),
        (&["8.8.8.8"][..], &["8.8.8.0/24"][..], "8.8.8.8", AllowedByList),
        (&["8.8.8.8"][..], &["8.8.8.0/24"][..], "8.8.8.9", AddressDenied),
        (&["8.8.8.8"][..], &[][..], "1.1.1.1", AllowedByDefault),
        (&[][..], &["0.0.0.0/0"][..], "255.255.255.255", AddressDenied),
        (&[][..], &["0.0.0.0/0"][..], "2001:db8::1", AddressDenied),
        (&[][..], &["::/0"][..], "8.8.8.8", AllowedByDefault),
        (&[][..], &["::/0"][..], "2001:db8::1", AddressDenied),
        (&["0.0.0.0/0"][..], &["::/0"][..], "2001:db8::1", AllowedByList),
        (&["::/0"][..], &["0.0.0.0/0"][..], "8.8.8.8", AddressDenied),
        (&["::/0"][..], &["0.0.0.0/0"][..], "2001:db8::1", AllowedByList),
        (&["::ffff:0:0/96"][..], &["0.0.0.0/0"][..], "8.8.8.8", AddressDenied),
        (&["::ffff:8.8.8.8"][..], &["0.0.0.0/0"][..], "8.8.8.8", AddressDenied),
        (&["::fffe:0:0/95"][..], &["0.0.0.0/0"][..], "8.8.8.8", AddressDenied),
        (&["1.2.3.4/0"][..], &["8.8.8.8"][..], "8.8.8.8", AllowedByList),
        (&[][..], &["255.255.255.255"][..], "255.255.255.255", AddressDenied),
        (&[][..], &["255.255.255.255"][..], "255.255.255.254", AllowedByDefault),
    ] {
        assert_eq!(judged(allow, deny, address), reason, "allow {allow:?} deny {deny:?} at {address}");
    }
}
