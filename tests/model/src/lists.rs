//! Who may send where.

use crate::address::{any_covers, covers, list_covers};
use crate::reason::{
    ADDRESS_DENIED, ALLOWED_BY_DEFAULT, ALLOWED_BY_LIST, ALLOWED_NAMESERVER, PROTECTED_EMBEDDED, PROTECTED_HOST,
    PROTECTED_LINK, PROTECTED_RANGE, PROTECTED_SANDBOX,
};
use crate::{Host, Sandbox};
use ipnet::IpNet;
use std::net::IpAddr;

const PROTECTED: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
    "::/96",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "64:ff9b:1::/48",
];

/// The reason that an address gets at a TCP or UDP port, or without one. Numbers below 10 allow.
pub(crate) fn judge(sandbox: &Sandbox, host: &Host, address: IpAddr, port: Option<u16>) -> u8 {
    let outer = judge_outer(sandbox, host, address, port);
    if outer >= 10 { outer } else { judge_embedded(sandbox, host, address, port, outer) }
}

/// The same, without a look at what is embedded in the address.
pub(crate) fn judge_outer(sandbox: &Sandbox, host: &Host, address: IpAddr, port: Option<u16>) -> u8 {
    judge_one(sandbox, host, address, port == Some(53) && host.nameservers.contains(&address))
}

/// What an address that would be allowed gets for what is embedded in it.
pub(crate) fn judge_embedded(sandbox: &Sandbox, host: &Host, address: IpAddr, port: Option<u16>, outer: u8) -> u8 {
    let refused = |inner: &IpAddr| judge_outer(sandbox, host, *inner, port) >= 10;
    if embedded(address).iter().any(refused) { PROTECTED_EMBEDDED } else { outer }
}

fn judge_one(sandbox: &Sandbox, host: &Host, address: IpAddr, resolver: bool) -> u8 {
    let lifted = resolver || any_covers(&host.open_ranges, address);
    if !lifted && is_protected(address) {
        return PROTECTED_RANGE;
    }
    let allowed = if resolver && sandbox.names { ALLOWED_NAMESERVER } else { by_lists(sandbox, address) };
    if allowed == ADDRESS_DENIED {
        return ADDRESS_DENIED;
    }
    living(host, address, lifted, resolver).unwrap_or(allowed)
}

/// What an address gets that the lists deny and a name may allow, when it is somebody's whom no sandbox reaches.
pub(crate) fn judge_living(host: &Host, address: IpAddr) -> Option<u8> {
    living(host, address, any_covers(&host.open_ranges, address), false)
}

fn living(host: &Host, address: IpAddr, lifted: bool, resolver: bool) -> Option<u8> {
    if host.host_addresses.contains(&address) {
        return (!lifted).then_some(PROTECTED_HOST);
    }
    // Never opened, not even by the operator; but a resolver is one wherever it is.
    if !resolver && any_covers(&host.sandboxes, address) {
        return Some(PROTECTED_SANDBOX);
    }
    (!lifted && any_covers(&host.on_link, address)).then_some(PROTECTED_LINK)
}

fn by_lists(sandbox: &Sandbox, address: IpAddr) -> u8 {
    if list_covers(&sandbox.allow, address) {
        ALLOWED_BY_LIST
    } else if list_covers(&sandbox.deny, address) || sandbox.allow_internet_access == Some(false) {
        ADDRESS_DENIED
    } else {
        ALLOWED_BY_DEFAULT
    }
}

fn is_protected(address: IpAddr) -> bool {
    PROTECTED.iter().any(|range| range.parse::<IpNet>().is_ok_and(|range| covers(&range, address)))
}

/// The IPv4 addresses inside an IPv6 address: NAT64, 6to4, Teredo's server and its client, whose bits are turned over.
fn embedded(address: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(v6) = address else { return Vec::new() };
    let part = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| v6.octets()[at + byte]));
    let within = |range: &str| range.parse::<IpNet>().is_ok_and(|range| covers(&range, address));
    let v4 = |bits: u32| IpAddr::V4(bits.into());
    if within("64:ff9b::/96") {
        vec![v4(part(12))]
    } else if within("2002::/16") {
        vec![v4(part(2))]
    } else if within("2001::/32") {
        vec![v4(part(4)), v4(!part(12))]
    } else {
        Vec::new()
    }
}
