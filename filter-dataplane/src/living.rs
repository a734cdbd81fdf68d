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
/// Where a prefix stands for several things the stricter one stays: a sandbox's is never opened, nor is the host's network in a pool
/// of sandboxes.
pub(crate) fn table<'a>(
    addresses: impl IntoIterator<Item = &'a DeviceAddress>,
    sandboxes: impl IntoIterator<Item = &'a IpNet>,
) -> Table {
    let mut table = Table::new();
    for DeviceAddress { address, network, .. } in addresses {
        table.entry(key(network)).or_insert(LivingValue::new(Reason::ProtectedLink));
        table.insert(key(&IpNet::from(address.addr())), LivingValue::new(Reason::ProtectedHost));
    }
    let sandboxes: Vec<IpNet> = sandboxes.into_iter().copied().collect();
    for prefix in &sandboxes {
        let link = LivingValue::new(Reason::ProtectedLink);
        let inside = |(address, bits): &(Address, u32)| prefix_covers(key(prefix), (*address, *bits));
        for (_, value) in table.iter_mut().filter(|(key, value)| **value == link && inside(key)) {
            *value = LivingValue::new(Reason::ProtectedSandbox);
        }
    }
    table.extend(sandboxes.iter().map(|prefix| (key(prefix), LivingValue::new(Reason::ProtectedSandbox))));
    table
}

/// Whether the first prefix covers the second.
fn prefix_covers((outer, bits): (Address, u32), (inner, more): (Address, u32)) -> bool {
    let differing = u128::from_be_bytes(outer.0) ^ u128::from_be_bytes(inner.0);
    more >= bits && differing.leading_zeros() >= bits
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

    #[test]
    fn a_network_of_the_host_opens_nothing_of_a_pool_around_it() {
        let pool = "10.200.0.0/16".parse().expect("a prefix");
        let table = table(&[on("10.200.0.1/24"), on("10.0.0.1/8")], &[pool]);
        let of = |prefix: &str| table.get(&key(&prefix.parse().expect("a prefix"))).map(|value| value.reason);
        assert_eq!(of("10.200.0.0/24"), Some(Reason::ProtectedSandbox as u32));
        assert_eq!(of("10.200.0.1/32"), Some(Reason::ProtectedHost as u32));
        assert_eq!(of("10.0.0.0/8"), Some(Reason::ProtectedLink as u32));
    }
}
