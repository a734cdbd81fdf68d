//! Addresses of two families that never meet, and prefixes compared bit by bit.

use ipnet::IpNet;
use std::net::IpAddr;

/// Whether a prefix covers an address of its own family.
pub(crate) fn covers(prefix: &IpNet, address: IpAddr) -> bool {
    let (bits, network, width) = match (prefix.addr(), address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (u128::from(u32::from(address)), u128::from(u32::from(network)), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (u128::from(address), u128::from(network), 128),
        _ => return false,
    };
    (0..u32::from(prefix.prefix_len())).all(|at| {
        let mask = 1_u128 << (width - 1 - at);
        bits & mask == network & mask
    })
}

/// Whether one of the prefixes covers an address.
pub(crate) fn any_covers(prefixes: &[IpNet], address: IpAddr) -> bool {
    prefixes.iter().any(|prefix| covers(prefix, address))
}

/// Whether one of the prefixes covers an address, where `0.0.0.0/0` stands for all traffic of both families.
pub(crate) fn list_covers(prefixes: &[IpNet], address: IpAddr) -> bool {
    let all = |prefix: &IpNet| prefix.addr().is_ipv4() && prefix.prefix_len() == 0;
    prefixes.iter().any(|prefix| all(prefix) || covers(prefix, address))
}

/// Whether an IPv6 address stands for an IPv4 address in dual-stack sockets.
pub(crate) fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if u128::from(v6) >> 32 == 0xffff)
}

pub(crate) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if u128::from(v6) >> 64 == 0xfe80 << 48)
}

/// The group in which the owner of an address listens for questions (RFC 4291, section 2.7.1).
pub(crate) fn solicited_node(address: IpAddr) -> Option<IpAddr> {
    const GROUP: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    match address {
        IpAddr::V6(v6) => Some(IpAddr::V6((GROUP | (u128::from(v6) & 0xff_ffff)).into())),
        IpAddr::V4(_) => None,
    }
}
