//! Neighbour discovery (RFC 4861) between the sandbox and its gateway.

use crate::Sandbox;
use crate::address::{is_link_local, solicited_node};
use crate::link::{is_gateway, is_group, is_own};
use crate::packet::{Frame, Packet, Piece, array};
use std::net::{IpAddr, Ipv6Addr};

pub(crate) const ROUTER_SOLICITATION: u8 = 133;
pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
pub(crate) const SOLICITATION: u8 = 135;
pub(crate) const ADVERTISEMENT: u8 = 136;
pub(crate) const REDIRECT: u8 = 137;
const SOURCE_OPTION: u8 = 1;
const TARGET_OPTION: u8 = 2;
const MOST_OPTIONS: usize = 4;

/// The kind of a link-layer option and its MAC address.
type LinkOption = (u8, [u8; 6]);

const NOBODY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
const ALL_NODES: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
const ALL_ROUTERS: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2));

/// A solicitation or advertisement from the sandbox: for itself, with the gateway.
pub(crate) fn from_sandbox(sandbox: &Sandbox, frame: &Frame, packet: &Packet, kind: u8, message: &[u8]) -> bool {
    let Some((target, options)) = targeted(packet, message) else { return false };
    // It names no other MAC address than the frame's.
    if !honest(&options, kind, frame.from) {
        return false;
    }
    let own = |address| is_own(sandbox, address) || is_link_local(address);
    let speaks = own(packet.source) && packet.source != NOBODY && !is_gateway(sandbox, packet.source);
    let right_mac = frame.tidy && (frame.to == sandbox.gateway_mac || is_group(frame.to, packet.destination));
    let asked = packet.destination == target || Some(packet.destination) == solicited_node(target);
    right_mac
        && match kind {
            SOLICITATION if packet.source == NOBODY => {
                own(target) && !is_gateway(sandbox, target) && Some(packet.destination) == solicited_node(target)
            }
            SOLICITATION => speaks && is_gateway(sandbox, target) && asked,
            // Only a router says that it is one.
            _ if message[4] & 0x80 != 0 => false,
            _ => {
                let known = is_gateway(sandbox, packet.destination) || packet.destination == ALL_NODES;
                speaks && own(target) && !is_gateway(sandbox, target) && known
            }
        }
}

/// A router solicitation of a sandbox that may send one.
pub(crate) fn solicits_router(sandbox: &Sandbox, frame: &Frame, packet: &Packet, message: &[u8]) -> bool {
    let Some(options) = options(packet, message, 8) else { return false };
    let nobody = packet.source == NOBODY;
    let own_link = is_link_local(packet.source) && !is_gateway(sandbox, packet.source);
    (nobody || is_own(sandbox, packet.source) || own_link)
        && (packet.destination == ALL_ROUTERS || is_gateway(sandbox, packet.destination))
        && (frame.to == sandbox.gateway_mac || is_group(frame.to, packet.destination))
        && frame.tidy
        && honest(&options, SOLICITATION, frame.from)
}

/// A solicitation or advertisement of the gateway.
pub(crate) fn to_sandbox(sandbox: &Sandbox, packet: &Packet, kind: u8, message: &[u8]) -> bool {
    let Some((target, options)) = targeted(packet, message) else { return false };
    let own = |address| is_own(sandbox, address) || is_link_local(address);
    let gateway = is_gateway(sandbox, packet.source);
    honest(&options, kind, sandbox.gateway_mac)
        && match kind {
            SOLICITATION if packet.source == NOBODY => is_gateway(sandbox, target),
            SOLICITATION => gateway && own(target) && !is_gateway(sandbox, target),
            _ => gateway && is_gateway(sandbox, target),
        }
}

/// A router advertisement of the gateway.
pub(crate) fn advertises_router(sandbox: &Sandbox, packet: &Packet, message: &[u8]) -> bool {
    let whole = packet.piece == Piece::Whole && packet.hops == 255 && message.get(1) == Some(&0);
    whole && is_gateway(sandbox, packet.source)
}

fn targeted(packet: &Packet, message: &[u8]) -> Option<(IpAddr, Vec<LinkOption>)> {
    let target = Ipv6Addr::from(array::<16>(message, 8)?);
    if target.to_ipv4_mapped().is_some() {
        return None;
    }
    Some((target.into(), options(packet, message, 24)?))
}

/// The link-layer options behind the fixed part of a message that came from this link.
fn options(packet: &Packet, message: &[u8], fixed: usize) -> Option<Vec<LinkOption>> {
    if packet.piece != Piece::Whole || packet.hops != 255 || *message.get(1)? != 0 {
        return None;
    }
    let mut rest = message.get(fixed..)?;
    let (mut found, mut count) = (Vec::new(), 0);
    while !rest.is_empty() {
        let length = usize::from(*rest.get(1)?) * 8;
        if length == 0 || length > rest.len() {
            return None;
        }
        if matches!(rest[0], SOURCE_OPTION | TARGET_OPTION) {
            if length != 8 {
                return None;
            }
            found.push((rest[0], array(rest, 2)?));
        }
        count += 1;
        if count > MOST_OPTIONS {
            return None;
        }
        rest = &rest[length..];
    }
    Some(found)
}

/// Whether link-layer addresses are of the kind that the message has, and the sender's.
fn honest(options: &[LinkOption], message: u8, sender: [u8; 6]) -> bool {
    let kind = if message == ADVERTISEMENT { TARGET_OPTION } else { SOURCE_OPTION };
    options.iter().all(|option| *option == (kind, sender))
}
