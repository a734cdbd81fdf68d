//! The link: MAC addresses, and what is behind a packet.
//!
//! A bridge floods what goes to everybody or to a group, so a frame of the link's own protocols must be that and no more: its MAC
//! address is the one that belongs to the group, and nothing but padding comes behind the packet.

use crate::abi::{SandboxConfig, SandboxFlags};
use crate::packet::{Flow, Source};

/// Whether the frame's source MAC is one that the sandbox may use: never a group address, and its own where the document names
/// it.
#[inline(always)]
pub(super) fn sends_from(flow: &Flow, sandbox: &SandboxConfig) -> bool {
    let group = flow.source_mac[0] & 1 != 0;
    let foreign = sandbox.flags & SandboxFlags::CHECK_MAC != 0 && flow.source_mac != sandbox.mac.bytes();
    !group && !foreign && flow.source_mac != sandbox.gateway_mac.bytes()
}

/// Whether the frame goes to the gateway or to everybody.
#[inline(always)]
pub(super) fn to_gateway_or_all(flow: &Flow, sandbox: &SandboxConfig) -> bool {
    flow.destination_mac == sandbox.gateway_mac.bytes() || flow.destination_mac == [0xff; 6]
}

/// Whether the frame goes to the gateway, or to the IPv6 multicast group that the packet is for (RFC 2464, section 7).
#[inline(always)]
pub(super) fn to_gateway_or_group(flow: &Flow, sandbox: &SandboxConfig) -> bool {
    let to = &flow.destination.octets();
    let group = to[0] == 0xff && flow.destination_mac == [0x33, 0x33, to[12], to[13], to[14], to[15]];
    group || flow.destination_mac == sandbox.gateway_mac.bytes()
}

/// Whether nothing is behind the packet that ends at `end` but the zeros that fill up a short frame to 60 bytes, or to 64 with a
/// tag (IEEE 802.3, section 3.2.8).
#[inline(always)]
pub(super) fn ends_at<S: Source>(frame: &S, end: u32) -> bool {
    /// An untagged frame of the least length, and a tagged one of either.
    const LEAST: [u32; 2] = [60, 64];
    /// What an ARP packet leaves of them, with and without a tag.
    const SHORT: u32 = 14;
    const LONG: u32 = 18;
    let length = frame.length();
    if length == end {
        return true;
    }
    let filled = LEAST.contains(&length) && (length == end + SHORT || length == end + LONG);
    filled && frame.load(end) == Some([0; SHORT as usize]) && frame.load(length - 4) == Some([0; 4])
}
