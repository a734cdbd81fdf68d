//! MAC addresses.

use crate::abi::{SandboxConfig, SandboxFlags};
use crate::packet::Flow;

/// Whether the frame's source MAC is one that the sandbox may use: never a group address, and its own where the document names
/// it.
#[inline(always)]
pub(super) fn sends_from(flow: &Flow, sandbox: &SandboxConfig) -> bool {
    let group = flow.source_mac[0] & 1 != 0;
    let foreign = sandbox.flags & SandboxFlags::CHECK_MAC != 0 && flow.source_mac != sandbox.mac;
    !group && !foreign && flow.source_mac != sandbox.gateway_mac
}

/// Whether the frame goes to the gateway or to everybody.
#[inline(always)]
pub(super) fn to_gateway_or_all(flow: &Flow, sandbox: &SandboxConfig) -> bool {
    flow.destination_mac == sandbox.gateway_mac || flow.destination_mac == [0xff; 6]
}

/// Whether the frame goes to the gateway or to an IPv6 multicast group (RFC 2464, section 7).
#[inline(always)]
pub(super) fn to_gateway_or_group(flow: &Flow, sandbox: &SandboxConfig) -> bool {
    flow.destination_mac == sandbox.gateway_mac || (flow.destination_mac[0] == 0x33 && flow.destination_mac[1] == 0x33)
}
