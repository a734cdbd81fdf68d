//! DHCP (RFC 2131, RFC 8415) between the sandbox and its gateway.

use crate::Sandbox;
use crate::address::is_link_local;
use crate::link::{BROADCAST, is_gateway, is_group, is_own};
use crate::packet::{Frame, Packet, Piece};
use std::net::{IpAddr, Ipv6Addr};

const SERVER4: u16 = 67;
const CLIENT4: u16 = 68;
const CLIENT6: u16 = 546;
const SERVER6: u16 = 547;
const SERVERS: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2));

/// Whether UDP ports are those of a server that answers.
pub(crate) fn is_service(source: u16, destination: u16) -> bool {
    matches!((source, destination), (SERVER4, CLIENT4) | (SERVER6, CLIENT6))
}

/// Whether a packet asks a server that the sandbox's link can have. Far ones are judged by the lists.
pub(crate) fn asks(sandbox: &Sandbox, packet: &Packet, source: u16, destination: u16) -> bool {
    let all = match (source, destination) {
        (CLIENT4, SERVER4) => IpAddr::from([255; 4]),
        (CLIENT6, SERVER6) => SERVERS,
        _ => return false,
    };
    packet.destination == all || is_gateway(sandbox, packet.destination)
}

/// Whether what [`asks`] comes from the sandbox and goes to the gateway or to all.
pub(crate) fn is_own_question(sandbox: &Sandbox, frame: &Frame, packet: &Packet, destination: u16) -> bool {
    let unicast = frame.to == sandbox.gateway_mac;
    let honest = if destination == SERVER4 {
        let nobody = packet.source == IpAddr::from([0; 4]) && packet.destination == IpAddr::from([255; 4]);
        (nobody || is_own(sandbox, packet.source)) && (unicast || frame.to == BROADCAST)
    } else {
        let own_link = is_link_local(packet.source) && !is_gateway(sandbox, packet.source);
        (own_link || is_own(sandbox, packet.source)) && (unicast || is_group(frame.to, packet.destination))
    };
    packet.piece == Piece::Whole && honest && frame.tidy
}

/// A server's message, from the gateway.
pub(crate) fn is_gateways_service(sandbox: &Sandbox, packet: &Packet) -> bool {
    packet.piece == Piece::Whole && is_gateway(sandbox, packet.source)
}
