//! The shortest way to the verdict on what nearly all traffic consists of.
//!
//! A plain packet is TCP or UDP of no connection that came in, without options, extension headers, fragments or tags, from the sandbox's own
//! address to its gateway's MAC address (or the other way round), and the lists allow its far side. [`from_sandbox`] and [`to_sandbox`]
//! recognise it from a few bytes at fixed places. They allow nothing that [`decide`](super::decide) and
//! [`decide_inbound`](crate::decide_inbound) would not allow with the same reason; of everything else they say nothing.

use super::remote::{self, Remote};
use super::{Tables, covered, dhcp, flow, owns};
use crate::abi::{FlowKey, PolicyValue, SandboxConfig, SandboxFlags};
use crate::packet::{ethertype, protocol, tcp_flags};
use crate::{Address, Reason, protected};

/// What the shortest way asks for.
pub trait Lists {
    /// As [`Tables::policy`].
    fn policy(&self, address: &Address) -> Option<PolicyValue>;

    /// Whether a living protected prefix may cover an address; `false` only when none does.
    fn may_be_living(&self, address: &Address) -> bool;

    /// Whether a connection that came in may be under way by this key; `false` only when none is.
    fn may_be_followed(&self, key: &FlowKey) -> bool;
}

impl<T: Tables> Lists for T {
    #[inline(always)]
    fn policy(&self, address: &Address) -> Option<PolicyValue> {
        Tables::policy(self, address)
    }

    #[inline(always)]
    fn may_be_living(&self, address: &Address) -> bool {
        self.living(address).is_some()
    }

    #[inline(always)]
    fn may_be_followed(&self, key: &FlowKey) -> bool {
        self.flow(key).is_some()
    }
}

/// A frame whose first bytes lie in memory.
pub trait Head {
    /// Length of the whole frame.
    fn length(&self) -> u32;

    /// Whether a device has taken a tag off the frame.
    fn is_tagged(&self) -> bool;

    /// Whether the first `length` bytes are there.
    fn holds(&self, length: u32) -> bool;

    /// The two bytes at an even place, to be asked only for what it [`Self::holds`].
    fn two(&self, at: u32) -> [u8; 2];
}

/// What allowed a plain packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// One of the reasons of the lists.
    pub reason: Reason,
    /// The packet.
    pub packet: Plain,
}

/// What is known of a plain packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// TCP or UDP.
    pub protocol: u8,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Where the transport header begins.
    pub transport: u32,
    /// Flags of TCP; none of UDP.
    pub tcp_flags: u8,
}

/// Allows a plain packet from the sandbox.
#[inline(always)]
pub fn from_sandbox<H: Head, L: Lists>(head: &H, sandbox: &SandboxConfig, lists: &L) -> Option<Allowed> {
    // Each family has its own copy of the whole way, in which all places are fixed.
    match family(head, sandbox)? {
        Family::V4 => outbound(head, v4(head)?, sandbox, lists),
        Family::V6 => outbound(head, v6(head)?, sandbox, lists),
    }
}

/// Allows a plain packet towards the sandbox that carries a mark.
#[inline(always)]
pub fn to_sandbox<H: Head, L: Lists>(head: &H, mark: u32, sandbox: &SandboxConfig, lists: &L) -> Option<Allowed> {
    match family(head, sandbox)? {
        Family::V4 => inbound(head, v4(head)?, mark, sandbox, lists),
        Family::V6 => inbound(head, v6(head)?, mark, sandbox, lists),
    }
}

#[inline(always)]
fn outbound<H: Head, L: Lists>(head: &H, packet: Plain, sandbox: &SandboxConfig, lists: &L) -> Option<Allowed> {
    let own_mac = sandbox.flags & SandboxFlags::CHECK_MAC == 0 || is_mac(head, SOURCE_MAC, &sandbox.mac);
    let to_gateway = is_mac(head, DESTINATION_MAC, &sandbox.gateway_mac);
    let foreign = is_mac(head, SOURCE_MAC, &sandbox.gateway_mac) || head.two(SOURCE_MAC)[0] & 1 != 0;
    if !own_mac || !to_gateway || foreign || !owns(sandbox, &packet.source) || ends_followed(&packet, lists) {
        return None;
    }
    let Plain { destination: address, destination_port, protocol, .. } = packet;
    let far = Remote { address, port: Some(destination_port), protocol, capturable: true };
    Some(Allowed { reason: listed(&far, sandbox, lists)?, packet })
}

#[inline(always)]
fn inbound<H: Head, L: Lists>(
    head: &H,
    packet: Plain,
    mark: u32,
    sandbox: &SandboxConfig,
    lists: &L,
) -> Option<Allowed> {
    let from_gateway = is_mac(head, SOURCE_MAC, &sandbox.gateway_mac);
    let marked = sandbox.mark_mask != 0 && mark & sandbox.mark_mask == sandbox.own_mark;
    let its = sandbox.flags & SandboxFlags::ANY_SOURCE != 0 || covered(sandbox, &packet.destination);
    if !from_gateway || marked || !its {
        return None;
    }
    let Plain { source: address, source_port, protocol, .. } = packet;
    let far = Remote { address, port: Some(source_port), protocol, capturable: false };
    Some(Allowed { reason: listed(&far, sandbox, lists)?, packet })
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

const DESTINATION_MAC: u32 = 0;
const SOURCE_MAC: u32 = 6;
const ETHERTYPE: u32 = 12;
const IP: u32 = 14;
/// Ports, and the first half of what follows.
const PORTS: u32 = 8;
const V4_HEADER: u32 = 20;
const V6_HEADER: u32 = 40;

enum Family {
    V4,
    V6,
}

/// The family of what may be a plain packet.
#[inline(always)]
fn family<H: Head>(head: &H, sandbox: &SandboxConfig) -> Option<Family> {
    if sandbox.flags & SandboxFlags::SEALED != 0 || head.is_tagged() || !head.holds(IP + V4_HEADER + PORTS) {
        return None;
    }
    match number(head, ETHERTYPE) {
        ethertype::IPV4 => Some(Family::V4),
        ethertype::IPV6 => Some(Family::V6),
        _ => None,
    }
}

#[inline(always)]
fn v4<H: Head>(head: &H) -> Option<Plain> {
    const NOT_WHOLE: u16 = 0x3fff;
    let total = u32::from(number(head, IP + 2));
    let whole = number(head, IP + 6) & NOT_WHOLE == 0;
    if head.two(IP)[0] != 0x45 || !whole || total < V4_HEADER || total > head.length() - IP {
        return None;
    }
    let address = |at| {
        let low = u64::from(number(head, at)) << 16 | u64::from(number(head, at + 2));
        Address::from_words(0, 0xffff << 32 | low)
    };
    let addresses = (address(IP + 12), address(IP + 16));
    transport(head, addresses, head.two(IP + 8)[1], IP + V4_HEADER, total - V4_HEADER)
}

#[inline(always)]
fn v6<H: Head>(head: &H) -> Option<Plain> {
    if !head.holds(IP + V6_HEADER + PORTS) || head.two(IP)[0] >> 4 != 6 {
        return None;
    }
    let payload = u32::from(number(head, IP + 4));
    if payload > head.length() - IP - V6_HEADER {
        return None;
    }
    let address = |at| {
        let word = |at| (0..4).fold(0, |word, nth| word << 16 | u64::from(number(head, at + 2 * nth)));
        Address::from_words(word(at), word(at + 8))
    };
    let addresses = (address(IP + 8), address(IP + 24));
    if addresses.0.is_v4() || addresses.1.is_v4() {
        return None;
    }
    transport(head, addresses, head.two(IP + 6)[0], IP + V6_HEADER, payload)
}

/// Reads the transport header at `at`, of a packet of which `length` bytes are left there.
#[inline(always)]
fn transport<H: Head>(
    head: &H,
    (source, destination): (Address, Address),
    protocol: u8,
    at: u32,
    length: u32,
) -> Option<Plain> {
    const TCP: u32 = 20;
    let (source_port, destination_port) = (number(head, at), number(head, at + 2));
    let mut tcp_flags = 0;
    match protocol {
        protocol::TCP => {
            if !head.holds(at + TCP) {
                return None;
            }
            let [offset, flags] = head.two(at + 12);
            let header = u32::from(offset >> 4) * 4;
            if header < TCP || header > length {
                return None;
            }
            tcp_flags = flags;
        }
        protocol::UDP => {
            let datagram = u32::from(number(head, at + 4));
            let dhcp = dhcp::is_port(source_port) || dhcp::is_port(destination_port);
            if datagram < PORTS || datagram > length || dhcp {
                return None;
            }
        }
        _ => return None,
    }
    Some(Plain { source, destination, protocol, source_port, destination_port, transport: at, tcp_flags })
}

/// What the lists say when nothing but them has a say.
#[inline(always)]
fn listed<L: Lists>(far: &Remote, sandbox: &SandboxConfig, lists: &L) -> Option<Reason> {
    // Who may open connections has flows, which a packet may open, keep or end.
    if flow::may_open(sandbox, &far.address) {
        return None;
    }
    let PolicyValue { reason, capture, flags, .. } = lists.policy(&far.address)?;
    let listed = remote::list_reason(reason)?;
    let elsewhere = flags != 0
        || protected::covers(&far.address)
        || protected::embedded(&far.address).is_some()
        || remote::is_captured(capture, far)
        || lists.may_be_living(&far.address);
    (!elsewhere).then_some(listed)
}

#[inline(always)]
fn number<H: Head>(head: &H, at: u32) -> u16 {
    u16::from_be_bytes(head.two(at))
}

#[inline(always)]
fn is_mac<H: Head>(head: &H, at: u32, mac: &[u8; 6]) -> bool {
    let differs = |nth: usize| {
        u16::from_ne_bytes(head.two(at + 2 * nth as u32)) ^ u16::from_ne_bytes([mac[2 * nth], mac[2 * nth + 1]])
    };
    differs(0) | differs(1) | differs(2) == 0
}
