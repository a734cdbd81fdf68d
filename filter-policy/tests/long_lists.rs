//! Long lists, wherever their entries lie: each address around an entry gets the answer of the list.

use filter_core::{Address, Reason};
use filter_policy::{Compiled, Entry, Operator, Policy, compile};
use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr};

/// The policy `denyOut: 0.0.0.0/0`, `allowOut:` these.
fn allowing(nets: &[IpNet]) -> Compiled {
    let entry = |value: IpNet| Entry { value, text: String::new(), index: 0 };
    let deny = vec![entry(Ipv4Net::default().into())];
    let allow = nets.iter().copied().map(entry).collect();
    compile(&Policy { allow, deny, ..Policy::default() }, &Operator::default(), 1)
}

/// Asks for the first and last address of each network and for those before and behind, most of which are in no network.
fn agrees(nets: &[IpNet]) {
    let compiled = allowing(nets);
    let mut ranges: Vec<(IpAddr, IpAddr)> = nets.iter().map(|net| (net.network(), net.broadcast())).collect();
    ranges.sort_unstable();
    let listed = |address: IpAddr| {
        let behind = ranges.partition_point(|(first, _)| *first <= address);
        behind > 0 && address <= ranges[behind - 1].1
    };
    for net in nets {
        let near = [before(net.network()), Some(net.network()), Some(net.broadcast()), after(net.broadcast())];
        for address in near.into_iter().flatten() {
            let expected = if listed(address) { Reason::AllowedByList } else { Reason::AddressDenied };
            let found = compiled.lookup(&Address::from(address)).reason;
            assert_eq!(found, expected.number(), "{address} of {} networks", nets.len());
        }
    }
}

fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_sub(1).map(|one| Ipv4Addr::from(one).into()),
        IpAddr::V6(v6) => u128::from(v6).checked_sub(1).map(|one| std::net::Ipv6Addr::from(one).into()),
    }
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_add(1).map(|one| Ipv4Addr::from(one).into()),
        IpAddr::V6(v6) => u128::from(v6).checked_add(1).map(|one| std::net::Ipv6Addr::from(one).into()),
    }
}

/// So many networks of a length, each `step` addresses behind the one before.
fn row(first: [u8; 4], count: u32, step: u32, bits: u8) -> Vec<IpNet> {
    let at = |nth: u32| Ipv4Addr::from(u32::from_be_bytes(first) + nth * step);
    (0..count).map(|nth| Ipv4Net::new_assert(at(nth), bits).into()).collect()
}

#[test]
fn around_where_a_table_begins_to_have_other_nodes() {
    for count in 50..70 {
        agrees(&row([11, 0, 0, 0], count, 1 << 20, 24));
        agrees(&row([203, 0, 113, 0], count, 2, 32));
    }
}

#[test]
fn all_over_the_address_space() {
    agrees(&row([1, 0, 0, 0], 3_000, 1_413_120, 24));
    agrees(&row([0, 0, 0, 0], 2_048, 1 << 21, 12));
    agrees(&row([0, 0, 0, 0], 128, 1 << 25, 8));
}

#[test]
fn crowded_into_one_place() {
    agrees(&row([203, 0, 0, 0], 60_000, 2, 32));
    agrees(&row([255, 255, 0, 0], 32_768, 2, 32));
    agrees(&row([0, 0, 0, 0], 200, 2, 32));
}

#[test]
fn in_one_place_and_all_over() {
    let mut nets = row([198, 51, 100, 0], 100, 2, 32);
    nets.extend(row([203, 0, 0, 0], 20_000, 4, 31));
    nets.extend(row([1, 0, 0, 0], 300, 10_000_000 / 256 * 256, 24));
    agrees(&nets);
}

#[test]
fn of_ipv6() {
    let at = |nth: u128| u128::from_be_bytes([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) + (nth << 65);
    for count in [1, 3, 4, 5, 20, 5_000] {
        let nets: Vec<IpNet> =
            (0..count).map(|nth| IpNet::new(std::net::Ipv6Addr::from(at(nth)).into(), 64).unwrap()).collect();
        agrees(&nets);
    }
}

#[test]
fn take_little_memory() {
    for (nets, most) in [(row([1, 0, 0, 0], 1_000, 3_400_192, 24), 64), (row([203, 0, 0, 0], 60_000, 2, 32), 48)] {
        let a_network = size_of_val(&allowing(&nets).rest[..]) / nets.len();
        assert!(a_network <= most, "{a_network} bytes each of {}", nets.len());
    }
}
