//! Who a frame may be between.

use crate::Sandbox;
use crate::address::any_covers;
use std::net::IpAddr;

pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];

/// Whether the sandbox may speak as an address: it is one of its own, and not the gateway's.
pub(crate) fn is_own(sandbox: &Sandbox, address: IpAddr) -> bool {
    let own = if sandbox.any { can_be_source(address) } else { any_covers(&sandbox.addresses, address) };
    own && !is_gateway(sandbox, address)
}

/// Whether a packet may be for the sandbox.
pub(crate) fn is_for(sandbox: &Sandbox, address: IpAddr) -> bool {
    sandbox.any || any_covers(&sandbox.addresses, address)
}

/// Whether an address can be somebody's (RFC 1122, section 3.2.1.3; RFC 4291, section 2.7).
fn can_be_source(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !matches!(v4.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_loopback() && !v6.is_multicast(),
    }
}

pub(crate) fn is_gateway(sandbox: &Sandbox, address: IpAddr) -> bool {
    sandbox.gateways.contains(&address)
}

/// Whether a MAC address is the one that stands for an IPv6 group (RFC 2464, section 7).
pub(crate) fn is_group(mac: [u8; 6], group: IpAddr) -> bool {
    match group {
        IpAddr::V6(v6) if v6.is_multicast() => mac[..2] == [0x33; 2] && mac[2..] == v6.octets()[12..],
        _ => false,
    }
}
