//! The protected prefixes that come and go: the host's addresses, the networks it is on, its sandboxes.

use crate::netlink::DeviceAddress;
use filter_core::abi::LivingValue;
use filter_core::{Address, Reason};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A table of living protected prefixes, by address and prefix length in the common 128-bit space.
pub(crate) type Table = BTreeMap<(Address, u32), LivingValue>;

/// The table for a namespace with these addresses, on a host with these sandboxes.
///
/// Where the same prefix stands for several things the stricter one stays: a sandbox's is never opened.
pub(crate) fn table<'a>(
    addresses: impl IntoIterator<Item = &'a DeviceAddress>,
    sandboxes: impl IntoIterator<Item = &'a IpNet>,
) -> Table {
    let mut table = Table::new();
    for DeviceAddress { address, network, .. } in addresses {
        table.entry(key(network)).or_insert(LivingValue::new(Reason::ProtectedLink));
        table.insert(key(&IpNet::from(address.addr())), LivingValue::new(Reason::ProtectedHost));
    }
    for prefix in sandboxes {
        table.insert(key(prefix), LivingValue::new(Reason::ProtectedSandbox));
    }
    table
}

/// A prefix in the common 128-bit space.
pub(crate) fn key(prefix: &IpNet) -> (Address, u32) {
    let bits = u32::from(prefix.prefix_len());
    match prefix.network() {
        IpAddr::V4(v4) => (Address::v4(v4.octets()), bits + filter_core::address::V4_PREFIX_BITS),
        IpAddr::V6(v6) => (Address(v6.octets()), bits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(address: &str) -> DeviceAddress {
        let address: IpNet = address.parse().expect("a prefix");
        DeviceAddress { ifindex: 1, address, network: address.trunc() }
    }

    #[test]
    fn hosts_links_and_sandboxes_are_told_apart() {
        let addresses = [on("192.0.2.1/24"), on("2001:db8::1/64"), on("198.51.100.7/32")];
        let sandboxes = ["198.51.100.7/32".parse().expect("a prefix")];
        let table = table(&addresses, &sandboxes);
        let of = |prefix: &str| table.get(&key(&prefix.parse().expect("a prefix"))).map(|value| value.reason);
        assert_eq!(of("192.0.2.0/24"), Some(Reason::ProtectedLink as u32));
        assert_eq!(of("192.0.2.1/32"), Some(Reason::ProtectedHost as u32));
        assert_eq!(of("2001:db8::/64"), Some(Reason::ProtectedLink as u32));
        assert_eq!(of("198.51.100.7/32"), Some(Reason::ProtectedSandbox as u32));
    }
}
