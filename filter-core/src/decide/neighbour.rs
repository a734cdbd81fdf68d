//! IPv6 neighbour discovery with the gateway (RFC 4861) and duplicate address detection (RFC 4862).
//!
//! Hop limit 255 proves that the packet was not forwarded. A link-local address that is not the gateway's counts as the
//! sandbox's own here, because its kernel makes one for itself; it counts nowhere else.

use super::{is_gateway, link, owns};
use crate::abi::{SandboxConfig, SandboxFlags};
use crate::packet::{Flow, Fragment, Source, icmp6};
use crate::{Address, Reason};

/// ICMPv6 header and target address.
const LENGTH: u32 = 24;
/// Router solicitation without options.
const SOLICITATION_LENGTH: u32 = 8;
/// Options that are followed; honest messages have one, or two with a nonce (RFC 7527).
const MAX_OPTIONS: usize = 4;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

#[inline(always)]
pub(super) fn solicitation<S: Source>(frame: &S, flow: &Flow, sandbox: &SandboxConfig) -> Reason {
    let Some(target) = target(frame, flow, sandbox) else {
        return Reason::Neighbour;
    };
    let detection = flow.source == Address::UNSPECIFIED
        && speaks_as(sandbox, &target)
        && flow.destination == solicited_node(&target);
    let question = speaks_as(sandbox, &flow.source)
        && is_gateway(sandbox, &target)
        && (flow.destination == target || flow.destination == solicited_node(&target));
    if (detection || question) && options_are_honest(frame, flow, LENGTH, SOURCE_LINK_LAYER) {
        Reason::GatewayNeighbour
    } else {
        Reason::Neighbour
    }
}

#[inline(always)]
pub(super) fn advertisement<S: Source>(frame: &S, flow: &Flow, sandbox: &SandboxConfig) -> Reason {
    const ROUTER: u8 = 0x80;
    let Some(target) = target(frame, flow, sandbox) else {
        return Reason::Neighbour;
    };
    let Some([flags]) = frame.load(flow.transport + 4) else {
        return Reason::Neighbour;
    };
    let to_whom = is_gateway(sandbox, &flow.destination) || flow.destination == ALL_NODES;
    let own = speaks_as(sandbox, &flow.source) && speaks_as(sandbox, &target);
    if own && to_whom && flags & ROUTER == 0 && options_are_honest(frame, flow, LENGTH, TARGET_LINK_LAYER) {
        Reason::GatewayNeighbour
    } else {
        Reason::Neighbour
    }
}

#[inline(always)]
pub(super) fn router_solicitation<S: Source>(frame: &S, flow: &Flow, sandbox: &SandboxConfig) -> Reason {
    let allowed = sandbox.flags & SandboxFlags::DHCP != 0;
    let own = flow.source == Address::UNSPECIFIED || speaks_as(sandbox, &flow.source);
    let to_whom = flow.destination == ALL_ROUTERS || is_gateway(sandbox, &flow.destination);
    let on_link = from_the_link(flow) && is_for_the_link(frame, flow, sandbox);
    if allowed && own && to_whom && on_link && options_are_honest(frame, flow, SOLICITATION_LENGTH, SOURCE_LINK_LAYER) {
        Reason::GatewayDhcp
    } else {
        Reason::Dhcp
    }
}

/// Neighbour discovery towards the sandbox: the gateway asks for or speaks to the sandbox, or looks whether its own address is
/// free.
#[inline(always)]
pub(super) fn from_gateway<S: Source>(frame: &S, flow: &Flow, sandbox: &SandboxConfig) -> bool {
    if flow.transport_length < LENGTH || !is_whole_from_the_link(flow) {
        return false;
    }
    let Some(target) = named(frame, flow) else {
        return false;
    };
    let gateway = is_gateway(sandbox, &flow.source);
    let (spoken, link_layer) = if flow.icmp_type() == icmp6::NEIGHBOUR_SOLICITATION {
        let detection = flow.source == Address::UNSPECIFIED && is_gateway(sandbox, &target);
        (detection || gateway && speaks_as(sandbox, &target), SOURCE_LINK_LAYER)
    } else {
        (gateway && is_gateway(sandbox, &target), TARGET_LINK_LAYER)
    };
    spoken && options_are_honest(frame, flow, LENGTH, link_layer)
}

const ALL_NODES: Address = Address::new([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const ALL_ROUTERS: Address = Address::new([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);

/// Whether `address` is link-local and not the gateway's.
#[inline(always)]
pub(super) fn is_own_link_local(sandbox: &SandboxConfig, address: &Address) -> bool {
    address.words().0 == 0xfe80_0000_0000_0000 && !is_gateway(sandbox, address)
}

#[inline(always)]
fn speaks_as(sandbox: &SandboxConfig, address: &Address) -> bool {
    is_own_link_local(sandbox, address) || owns(sandbox, address)
}

/// Whether the packet was not forwarded, and is no fragment (RFC 6980).
#[inline(always)]
pub(super) fn is_whole_from_the_link(flow: &Flow) -> bool {
    from_the_link(flow) && flow.fragment == Fragment::Whole
}

#[inline(always)]
fn from_the_link(flow: &Flow) -> bool {
    flow.hop_limit == 255 && flow.icmp_code() == 0
}

/// Whether the frame goes where the packet does, and carries nothing else.
#[inline(always)]
fn is_for_the_link<S: Source>(frame: &S, flow: &Flow, sandbox: &SandboxConfig) -> bool {
    link::to_gateway_or_group(flow, sandbox) && link::ends_at(frame, flow.transport + flow.transport_length)
}

#[inline(always)]
fn target<S: Source>(frame: &S, flow: &Flow, sandbox: &SandboxConfig) -> Option<Address> {
    if flow.transport_length < LENGTH || !from_the_link(flow) || !is_for_the_link(frame, flow, sandbox) {
        return None;
    }
    named(frame, flow)
}

/// The address that a message is about; one that stands for an IPv4 address is nobody's here.
#[inline(always)]
fn named<S: Source>(frame: &S, flow: &Flow) -> Option<Address> {
    frame.load::<16>(flow.transport + 8).map(Address::new).filter(|address| !address.is_v4())
}

/// The multicast group of an address (RFC 4291, section 2.7.1).
#[inline(always)]
fn solicited_node(address: &Address) -> Address {
    let a = &address.octets();
    Address::new([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a[13], a[14], a[15]])
}

/// Whether the options behind `fixed` bytes end where the packet does, and a link-layer address among them is the one that sent the frame.
#[inline(always)]
fn options_are_honest<S: Source>(frame: &S, flow: &Flow, fixed: u32, link_layer: u8) -> bool {
    let end = flow.transport + flow.transport_length;
    let mut at = flow.transport + fixed;
    for _ in 0..MAX_OPTIONS {
        if at == end {
            return true;
        }
        let Some([kind, length, mac @ ..]) = frame.load::<8>(at) else {
            return false;
        };
        let size = u32::from(length) * 8;
        if size == 0 || size > end - at {
            return false;
        }
        if (kind == SOURCE_LINK_LAYER || kind == TARGET_LINK_LAYER)
            && (kind != link_layer || length != 1 || mac != flow.source_mac)
        {
            return false;
        }
        at += size;
    }
    at == end
}
