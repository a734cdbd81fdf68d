//! The walk of a packet towards the sandbox.

use crate::link::is_for;
use crate::neighbour::{
    ADVERTISEMENT, ROUTER_ADVERTISEMENT, SOLICITATION, advertises_router, to_sandbox as neighbour_to,
};
use crate::packet::{Body, Packet, parse};
use crate::reason::{
    GATEWAY_ARP, GATEWAY_DHCP, GATEWAY_NEIGHBOUR, INBOUND, INBOUND_DENIED, OWN_SOCKET, SEALED, SEALED_NEIGHBOUR,
};
use crate::transport::Transport;
use crate::{Host, Outcome, Sandbox, address, arp, dhcp, lists, quote};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Judges a frame that is about to reach the sandbox and carries a mark, when no connection has come in before.
#[must_use]
pub fn to_sandbox(sandbox: &Sandbox, host: &Host, mark: u32, frame: &[u8]) -> Outcome {
    Outcome::of(reason(sandbox, host, mark, frame))
}

fn reason(sandbox: &Sandbox, host: &Host, mark: u32, bytes: &[u8]) -> u8 {
    match as_if_open(sandbox, host, mark, bytes) {
        GATEWAY_ARP | GATEWAY_NEIGHBOUR if sandbox.sealed => SEALED_NEIGHBOUR,
        _ if sandbox.sealed => SEALED,
        reason => reason,
    }
}

fn as_if_open(sandbox: &Sandbox, host: &Host, mark: u32, bytes: &[u8]) -> u8 {
    let frame = match parse(bytes) {
        Ok(frame) => frame,
        Err(reason) => return reason,
    };
    if frame.from != sandbox.gateway_mac {
        return INBOUND_DENIED;
    }
    let packet = match &frame.body {
        Body::Arp(body) => return if arp::to_sandbox(sandbox, &frame, body) { GATEWAY_ARP } else { INBOUND_DENIED },
        Body::Ip(packet) => packet,
    };
    if let Some(reason) = links_own(sandbox, packet) {
        return reason;
    }
    if !is_for(sandbox, packet.destination) {
        return INBOUND_DENIED;
    }
    let (own, mask) = host.own_mark;
    if mask != 0 && mark & mask == own {
        return OWN_SOCKET;
    }
    let port = match packet.transport {
        Transport::Tcp { source, .. } | Transport::Udp { source, .. } => Some(source),
        _ => None,
    };
    let by_lists = lists::judge(sandbox, host, packet.source, port);
    if by_lists < 10 {
        return by_lists;
    }
    if let Transport::Icmp { kind, message, .. } = &packet.transport
        && if packet.source.is_ipv6() { matches!(kind, 1..=4) } else { matches!(kind, 3 | 11 | 12) }
        && let Some(reason) = quote::may_be_own(sandbox, host, packet, message)
    {
        return reason;
    }
    if address::any_covers(&sandbox.inbound_from, packet.source) && opens(packet) { INBOUND } else { INBOUND_DENIED }
}

/// The link's own protocols. What they refuse is refused; the rest is not theirs.
fn links_own(sandbox: &Sandbox, packet: &Packet) -> Option<u8> {
    let judged = |passes, reason| Some(if passes { reason } else { INBOUND_DENIED });
    match &packet.transport {
        Transport::Icmp { kind, message, .. } if packet.source.is_ipv6() => match *kind {
            SOLICITATION | ADVERTISEMENT => judged(neighbour_to(sandbox, packet, *kind, message), GATEWAY_NEIGHBOUR),
            ROUTER_ADVERTISEMENT => judged(sandbox.dhcp && advertises_router(sandbox, packet, message), GATEWAY_DHCP),
            // Routers speak to hosts so, and hosts to routers: the gateway's are above.
            130..=133 | 137 | 143 => Some(INBOUND_DENIED),
            _ => None,
        },
        // Redirects and router discovery of IPv4.
        Transport::Icmp { kind: 5 | 9 | 10, .. } => Some(INBOUND_DENIED),
        Transport::Udp { source, destination } if dhcp::is_service(*source, *destination) => {
            judged(sandbox.dhcp && dhcp::is_gateways_service(sandbox, packet), GATEWAY_DHCP)
        }
        _ => None,
    }
}

/// Whether a packet is one that opens a connection.
fn opens(packet: &Packet) -> bool {
    match packet.transport {
        Transport::Tcp { flags, .. } => flags & (SYN | ACK | RST | FIN) == SYN,
        Transport::Udp { .. } => true,
        Transport::Icmp { kind, .. } => kind == if packet.source.is_ipv6() { 128 } else { 8 },
        Transport::Unknown { .. } => false,
    }
}
