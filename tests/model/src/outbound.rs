//! The walk of a packet from the sandbox.

use crate::link::is_own;
use crate::neighbour::{
    ADVERTISEMENT, REDIRECT, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION, SOLICITATION, from_sandbox as neighbour_from,
    solicits_router,
};
use crate::packet::{Body, Frame, Packet, Piece, TCP, parse};
use crate::reason::{
    ADDRESS_DENIED, ARP, DESTINATION_MAC, DHCP, GATEWAY_ARP, GATEWAY_DHCP, GATEWAY_NEIGHBOUR, GROUP_MEMBERSHIP,
    ICMP_TYPE, NEIGHBOUR, ROUTER_ROLE, SEALED, SIDECAR_UNAVAILABLE, SOURCE_ADDRESS, SOURCE_MAC,
};
use crate::transport::Transport;
use crate::{Capture, Host, Outcome, Sandbox, arp, dhcp, lists};

/// Judges a frame that the sandbox sent.
#[must_use]
pub fn from_sandbox(sandbox: &Sandbox, host: &Host, frame: &[u8]) -> Outcome {
    Outcome::of(reason(sandbox, host, frame))
}

fn reason(sandbox: &Sandbox, host: &Host, bytes: &[u8]) -> u8 {
    let reason = as_if_open(sandbox, host, bytes);
    let is_about_itself = matches!(reason, GATEWAY_ARP | GATEWAY_NEIGHBOUR) && bytes.starts_with(&sandbox.gateway_mac);
    if sandbox.sealed && !is_about_itself { SEALED } else { reason }
}

fn as_if_open(sandbox: &Sandbox, host: &Host, bytes: &[u8]) -> u8 {
    let frame = match parse(bytes) {
        Ok(frame) => frame,
        Err(reason) => return reason,
    };
    let nobodys = frame.from[0] & 1 == 1 || frame.from == sandbox.gateway_mac;
    if nobodys || sandbox.mac.is_some_and(|mac| mac != frame.from) {
        return SOURCE_MAC;
    }
    let packet = match &frame.body {
        Body::Arp(body) => return if arp::from_sandbox(sandbox, &frame, body) { GATEWAY_ARP } else { ARP },
        Body::Ip(packet) => packet,
    };
    if let Some(reason) = links_own(sandbox, &frame, packet) {
        return reason;
    }
    if let Some(reason) = refused_kind(packet) {
        return reason;
    }
    if !is_own(sandbox, packet.source) {
        return SOURCE_ADDRESS;
    }
    let (port, tcp) = match packet.transport {
        Transport::Tcp { destination, .. } => (Some(destination), true),
        Transport::Udp { destination, .. } => (Some(destination), false),
        Transport::Unknown { protocol } => (None, protocol == TCP),
        Transport::Icmp { .. } => (None, false),
    };
    let outer = lists::judge_outer(sandbox, host, packet.destination, port);
    let web = tcp && matches!(port, Some(80 | 443));
    if outer == ADDRESS_DENIED && web && sandbox.names {
        return lists::judge_living(host, packet.destination).unwrap_or_else(|| sidecar(sandbox, &frame));
    }
    if outer >= 10 {
        return outer;
    }
    let captured = match sandbox.capture {
        Capture::Nothing => false,
        Capture::Web => web,
        Capture::AllTcp => tcp,
    };
    if captured {
        return sidecar(sandbox, &frame);
    }
    let allowed = lists::judge_embedded(sandbox, host, packet.destination, port, outer);
    if allowed < 10 && frame.to != sandbox.gateway_mac { DESTINATION_MAC } else { allowed }
}

/// There is no sidecar to take it.
fn sidecar(sandbox: &Sandbox, frame: &Frame) -> u8 {
    if frame.to == sandbox.gateway_mac { SIDECAR_UNAVAILABLE } else { DESTINATION_MAC }
}

/// The link's own protocols, which have rules of their own for the source.
fn links_own(sandbox: &Sandbox, frame: &Frame, packet: &Packet) -> Option<u8> {
    match &packet.transport {
        Transport::Icmp { kind, message, .. } if packet.source.is_ipv6() => match *kind {
            // Refused in fragments (RFC 6980), even in those that are whole.
            ROUTER_SOLICITATION | SOLICITATION | ADVERTISEMENT if packet.piece != Piece::Whole => Some(NEIGHBOUR),
            SOLICITATION | ADVERTISEMENT => {
                let passes = neighbour_from(sandbox, frame, packet, *kind, message);
                Some(if passes { GATEWAY_NEIGHBOUR } else { NEIGHBOUR })
            }
            ROUTER_SOLICITATION => {
                let passes = sandbox.dhcp && solicits_router(sandbox, frame, packet, message);
                Some(if passes { GATEWAY_DHCP } else { DHCP })
            }
            ROUTER_ADVERTISEMENT | REDIRECT => Some(ROUTER_ROLE),
            130..=132 | 143 => Some(GROUP_MEMBERSHIP),
            _ => None,
        },
        Transport::Udp { source, destination } if dhcp::is_service(*source, *destination) => Some(DHCP),
        Transport::Udp { source, destination } if dhcp::asks(sandbox, packet, *source, *destination) => {
            let passes = sandbox.dhcp && dhcp::is_own_question(sandbox, frame, packet, *destination);
            Some(if passes { GATEWAY_DHCP } else { DHCP })
        }
        _ => None,
    }
}

/// ICMP other than echo and errors.
fn refused_kind(packet: &Packet) -> Option<u8> {
    let Transport::Icmp { kind, .. } = packet.transport else { return None };
    if packet.source.is_ipv6() {
        return if matches!(kind, 1..=4 | 128 | 129) { None } else { Some(ICMP_TYPE) };
    }
    match kind {
        0 | 3 | 8 | 11 | 12 => None,
        5 | 9 => Some(ROUTER_ROLE),
        _ => Some(ICMP_TYPE),
    }
}
