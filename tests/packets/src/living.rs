//! The living protected prefixes of the table's world: what they are made from, and what they must be in the kernel.

use crate::profile::common;
use filter_core::abi::LivingValue;
use filter_core::{Address, Reason};
use filter_dataplane::netlink::DeviceAddress;
use ipnet::IpNet;

/// Addresses of the host, each with the network that it is on.
const HOST: &[(&str, &str)] = &[
    ("198.51.100.1/30", "198.51.100.0/30"),
    ("2001:db8:a::1/64", "2001:db8:a::/64"),
    ("192.0.2.1/24", "192.0.2.0/24"),
    ("2001:db8:77::1/64", "2001:db8:77::/64"),
    ("10.0.0.1/24", "10.0.0.0/24"),
    ("203.0.112.1/32", "203.0.112.2/32"),
];

/// Addresses and pools of sandboxes.
const SANDBOXES: &[&str] = &[
    "198.51.100.2/32",
    "198.51.100.16/28",
    "2001:db8:a::2/128",
    "2001:db8:a:1::/64",
    "198.51.100.64/26",
    "2001:db8:b::/48",
    "10.9.9.9/32",
    "192.0.2.66/32",
];

const TABLE: &[(&str, Reason)] = &[
    ("198.51.100.1/32", Reason::ProtectedHost),
    ("198.51.100.0/30", Reason::ProtectedLink),
    ("2001:db8:a::1/128", Reason::ProtectedHost),
    ("2001:db8:a::/64", Reason::ProtectedLink),
    ("192.0.2.1/32", Reason::ProtectedHost),
    ("192.0.2.0/24", Reason::ProtectedLink),
    ("2001:db8:77::1/128", Reason::ProtectedHost),
    ("2001:db8:77::/64", Reason::ProtectedLink),
    ("10.0.0.1/32", Reason::ProtectedHost),
    ("10.0.0.0/24", Reason::ProtectedLink),
    ("203.0.112.1/32", Reason::ProtectedHost),
    ("203.0.112.2/32", Reason::ProtectedLink),
    ("198.51.100.2/32", Reason::ProtectedSandbox),
    ("198.51.100.16/28", Reason::ProtectedSandbox),
    ("2001:db8:a::2/128", Reason::ProtectedSandbox),
    ("2001:db8:a:1::/64", Reason::ProtectedSandbox),
    ("198.51.100.64/26", Reason::ProtectedSandbox),
    ("2001:db8:b::/48", Reason::ProtectedSandbox),
    ("10.9.9.9/32", Reason::ProtectedSandbox),
    ("192.0.2.66/32", Reason::ProtectedSandbox),
];

pub(crate) fn host() -> Vec<DeviceAddress> {
    let on = |(address, network): &(&str, &str)| DeviceAddress {
        ifindex: 1,
        address: prefix(address),
        network: prefix(network),
    };
    HOST.iter().map(on).collect()
}

pub(crate) fn sandboxes() -> Vec<IpNet> {
    SANDBOXES.iter().map(|text| prefix(text)).collect()
}

/// The longest match. No host's own address lies in a pool of sandboxes here: then one table is as good as two.
pub(crate) fn lookup(address: &Address) -> Option<LivingValue> {
    let covering = TABLE.iter().filter(|(text, _)| {
        let (network, bits) = common(&prefix(text));
        covers(&network, bits, address)
    });
    covering.max_by_key(|(text, _)| common(&prefix(text)).1).map(|(_, reason)| LivingValue::new(*reason))
}

/// The entries that one of the kernel's tables must have, as bytes, sorted: the sandboxes', or the namespace's own.
pub(crate) fn entries(of_sandboxes: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries: Vec<_> = TABLE
        .iter()
        .filter(|(_, reason)| (*reason == Reason::ProtectedSandbox) == of_sandboxes)
        .map(|(text, reason)| {
            let (network, bits) = common(&prefix(text));
            let key = [bits.to_ne_bytes().as_slice(), &network.octets()].concat();
            (key, u32::from(reason.number()).to_ne_bytes().to_vec())
        })
        .collect();
    entries.sort();
    entries
}

/// Whether the first `bits` of two addresses are the same.
pub(crate) fn covers(network: &Address, bits: u32, address: &Address) -> bool {
    let differing = u128::from_be_bytes(network.octets()) ^ u128::from_be_bytes(address.octets());
    differing.leading_zeros() >= bits
}

fn prefix(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}
