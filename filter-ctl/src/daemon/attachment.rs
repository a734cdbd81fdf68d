//! What the kernel has to know of an attachment.

use super::config::Config;
use filter_core::Address;
use filter_core::abi::{Mac, Prefix, SandboxConfig, SandboxFlags};
use filter_dataplane::Device;
use filter_policy::sandbox::OnDeny;
use filter_policy::{Sandbox, Sources};
use ipnet::IpNet;
use std::net::IpAddr;

/// Who a sandbox may be, who its gateway is, who may open connections to it, and what it is told.
pub(super) fn attachment(config: &Config, sandbox: &Sandbox, device: &Device, incarnation: u32) -> SandboxConfig {
    let mut kernel = SandboxConfig {
        incarnation,
        flags: 0,
        events_per_second: config.events.per_second,
        events_burst: config.events.burst,
        rejects_per_second: config.rejects.per_second,
        rejects_burst: config.rejects.burst,
        own_mark: config.marks.own,
        mark_mask: config.marks.mask,
        capture_mark: config.marks.capture,
        gateway_mac: Mac::new(device.gateway_mac),
        bridge: device.bridge.unwrap_or(0),
        ..SandboxConfig::EMPTY
    };
    match &sandbox.sources {
        Sources::Any => kernel.flags |= SandboxFlags::ANY_SOURCE,
        Sources::Prefixes(prefixes) => kernel.source_count = fill(&mut kernel.sources, prefixes.iter().map(prefix)),
    }
    if let Some(mac) = sandbox.mac {
        kernel.flags |= SandboxFlags::CHECK_MAC;
        kernel.mac = Mac::new(mac);
    }
    if sandbox.dhcp {
        kernel.flags |= SandboxFlags::DHCP;
    }
    if sandbox.on_deny == OnDeny::Reject {
        kernel.flags |= SandboxFlags::REJECT;
    }
    if sandbox.policy.is_captured() {
        kernel.flags |= SandboxFlags::NAMED;
    }
    if config.connections.is_some() {
        kernel.flags |= SandboxFlags::ACCOUNTED;
    }
    // Neighbour discovery comes from the link-local address, whichever address the document calls the gateway.
    let link_local = |address: &&IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let written = sandbox.gateway.iter().chain(device.gateway.iter().filter(link_local));
    let gateway: Vec<&IpAddr> =
        if sandbox.gateway.is_empty() { device.gateway.iter().collect() } else { written.collect() };
    kernel.gateway_count = fill(&mut kernel.gateways, gateway.into_iter().map(|address| Address::from(*address)));
    kernel.inbound_count = fill(&mut kernel.inbound, sandbox.inbound_from.iter().map(prefix));
    kernel.with_gateway_told_apart()
}

/// Fills the front of an array, and tells how far.
fn fill<T, const N: usize>(into: &mut [T; N], from: impl Iterator<Item = T>) -> u16 {
    let mut count = 0;
    for (slot, value) in into.iter_mut().zip(from) {
        *slot = value;
        count += 1;
    }
    count
}

fn prefix(prefix: &IpNet) -> Prefix {
    let bits = u32::from(prefix.prefix_len());
    match prefix.addr() {
        IpAddr::V4(v4) => Prefix::new(Address::v4(v4.octets()), filter_core::address::V4_PREFIX_BITS + bits),
        IpAddr::V6(v6) => Prefix::new(Address::new(v6.octets()), bits),
    }
}
