//! The shortest way to the verdict on what nearly all traffic consists of.
//!
//! A plain packet is TCP or UDP of no connection that came in, without options, extension headers, fragments or tags, from the
//! sandbox's own address to its gateway's MAC address (or the other way round), of a sandbox whose connections are not
//! accounted, and the lists allow its far side. [`from_sandbox`] and [`to_sandbox`] recognise it from a few bytes at fixed
//! places. They allow nothing that [`decide`](super::decide) and [`decide_inbound`](crate::decide_inbound) would not allow with
//! the same reason; of everything else they say nothing.

mod head;
mod lists;

pub use head::{Head, Plain};
pub use lists::{Lists, is_sandboxs, may_open, owns};

use super::remote::{self, Remote};
use crate::abi::{FlowKey, PolicyValue, SandboxConfig, SandboxFlags};
use crate::packet::tcp_flags;
use crate::{Reason, protected};
use head::{Family, destination_mac, family, source_mac, v4, v6, version};

/// What allowed a plain packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// One of the reasons of the lists.
    pub reason: Reason,
    /// The packet.
    pub packet: Plain,
}

/// Allows a plain packet from the sandbox, if no connection that was handed over may have it.
#[inline(always)]
pub fn from_sandbox<H: Head, L: Lists>(head: &H, sandbox: &SandboxConfig, lists: &L) -> Option<Allowed> {
    // Each family has its own copy of the whole way, in which all places are fixed.
    match family(head, sandbox)? {
        Family::V4 => outbound::<_, _, true>(head, v4(head)?, sandbox, lists),
        Family::V6 => outbound::<_, _, false>(head, v6(head)?, sandbox, lists),
    }
}

/// Allows a plain packet towards the sandbox that carries a mark.
#[inline(always)]
pub fn to_sandbox<H: Head, L: Lists>(head: &H, mark: u32, sandbox: &SandboxConfig, lists: &L) -> Option<Allowed> {
    match family(head, sandbox)? {
        Family::V4 => inbound::<_, _, true>(head, v4(head)?, mark, sandbox, lists),
        Family::V6 => inbound::<_, _, false>(head, v6(head)?, mark, sandbox, lists),
    }
}

/// Allows a plain packet that a socket of a cgroup sends, as [`decide_sent`](crate::decide_sent) would. It has no link header; `head` counts as if
/// there were one, of which it is not asked.
#[inline(always)]
pub fn sent<H: Head, L: Lists>(head: &H, sandbox: &SandboxConfig, lists: &L) -> Option<Allowed> {
    match version(head, sandbox)? {
        Family::V4 => leaves::<_, true>(v4(head)?, sandbox, lists),
        Family::V6 => leaves::<_, false>(v6(head)?, sandbox, lists),
    }
}

/// Allows a plain packet with a mark that is about to reach a socket of a cgroup, as [`decide_received`](crate::decide_received) would; `head` as in
/// [`sent`].
#[inline(always)]
pub fn received<H: Head, L: Lists>(head: &H, mark: u32, sandbox: &SandboxConfig, lists: &L) -> Option<Allowed> {
    if is_of_own_socket(mark, sandbox) {
        return None;
    }
    match version(head, sandbox)? {
        Family::V4 => arrives::<_, true>(v4(head)?, sandbox, lists),
        Family::V6 => arrives::<_, false>(v6(head)?, sandbox, lists),
    }
}

/// Allows where a socket of a cgroup is about to send, or to connect to, as [`decide_destination`](crate::decide_destination) would.
#[inline(always)]
pub fn destination<L: Lists>(remote: &Remote, sandbox: &SandboxConfig, lists: &L) -> Option<Reason> {
    if sandbox.flags & SandboxFlags::SEALED != 0 {
        return None;
    }
    if remote.address.is_v4() {
        listed::<_, true>(remote, sandbox, lists)
    } else {
        listed::<_, false>(remote, sandbox, lists)
    }
}

#[inline(always)]
fn outbound<H: Head, L: Lists, const V4: bool>(
    head: &H,
    packet: Plain,
    sandbox: &SandboxConfig,
    lists: &L,
) -> Option<Allowed> {
    let (from, to) = (source_mac(head), destination_mac(head));
    let own_mac = sandbox.flags & SandboxFlags::CHECK_MAC == 0 || from == sandbox.mac;
    let to_gateway = to == sandbox.gateway_mac;
    let foreign = from == sandbox.gateway_mac || from.is_group();
    let Plain { destination_port, protocol, tcp_flags, .. } = packet;
    if sandbox.may_be_carried(protocol, destination_port, tcp_flags) {
        return None;
    }
    if !own_mac || !to_gateway || foreign || !lists.owns(sandbox, &packet.source) {
        return None;
    }
    leaves::<_, V4>(packet, sandbox, lists)
}

/// Allows a packet to where the lists allow it, unless it may be the end of a connection that came in.
#[inline(always)]
fn leaves<L: Lists, const V4: bool>(packet: Plain, sandbox: &SandboxConfig, lists: &L) -> Option<Allowed> {
    if ends_followed(&packet, lists) {
        return None;
    }
    let Plain { destination: address, destination_port, protocol, .. } = packet;
    let far = Remote { address, port: Some(destination_port), protocol, capturable: true };
    Some(Allowed { reason: listed::<_, V4>(&far, sandbox, lists)?, packet })
}

/// Allows a packet from where the lists allow to send.
#[inline(always)]
fn arrives<L: Lists, const V4: bool>(packet: Plain, sandbox: &SandboxConfig, lists: &L) -> Option<Allowed> {
    let Plain { source: address, source_port, protocol, .. } = packet;
    let far = Remote { address, port: Some(source_port), protocol, capturable: false };
    Some(Allowed { reason: listed::<_, V4>(&far, sandbox, lists)?, packet })
}

#[inline(always)]
fn is_of_own_socket(mark: u32, sandbox: &SandboxConfig) -> bool {
    sandbox.mark_mask != 0 && mark & sandbox.mark_mask == sandbox.own_mark
}

#[inline(always)]
fn inbound<H: Head, L: Lists, const V4: bool>(
    head: &H,
    packet: Plain,
    mark: u32,
    sandbox: &SandboxConfig,
    lists: &L,
) -> Option<Allowed> {
    let from_gateway = source_mac(head) == sandbox.gateway_mac;
    let marked = is_of_own_socket(mark, sandbox);
    let its = lists.is_sandboxs(sandbox, &packet.destination);
    if !from_gateway || marked || !its {
        return None;
    }
    arrives::<_, V4>(packet, sandbox, lists)
}

/// Whether a packet of the sandbox may be the end of a connection that came in.
#[inline(always)]
fn ends_followed<L: Lists>(packet: &Plain, lists: &L) -> bool {
    let Plain { source, destination, protocol, source_port, destination_port, .. } = *packet;
    packet.tcp_flags & (tcp_flags::FIN | tcp_flags::RST) != 0
        && lists.may_be_followed(&FlowKey {
            peer: destination,
            local: source,
            peer_port: destination_port,
            local_port: source_port,
            protocol,
            ..FlowKey::default()
        })
}

/// What the lists say when nothing but them has a say.
#[inline(always)]
fn listed<L: Lists, const V4: bool>(far: &Remote, sandbox: &SandboxConfig, lists: &L) -> Option<Reason> {
    // Who may open connections has flows, which a packet may open, keep or end.
    if lists.may_open(sandbox, &far.address) {
        return None;
    }
    let PolicyValue { reason, capture, flags, .. } = lists.policy::<V4>(&far.address)?;
    let listed = remote::list_reason(reason)?;
    // The table tells of the fixed ranges of IPv4.
    let elsewhere = flags != 0
        || !V4 && (protected::covers(&far.address) || protected::embedded(&far.address).is_some())
        || remote::is_captured(capture, far, true)
        || lists.may_be_living(&far.address);
    (!elsewhere).then_some(listed)
}
