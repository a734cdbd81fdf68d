//! The shortest way to the verdict on what nearly all traffic consists of.
//!
//! A plain packet is TCP or UDP of no connection that came in, without options, extension headers, fragments or tags, from the sandbox's own
//! address to its gateway's MAC address (or the other way round), of a sandbox whose connections are not accounted, and the lists allow its far side. [`from_sandbox`] and [`to_sandbox`]
//! recognise it from a few bytes at fixed places. They allow nothing that [`decide`](super::decide) and
//! [`decide_inbound`](crate::decide_inbound) would not allow with the same reason; of everything else they say nothing.

use super::remote::{self, Remote};
use super::{Tables, dhcp, flow};
use crate::abi::{FlowKey, Mac, PolicyValue, SandboxConfig, SandboxFlags};
use crate::packet::{ethertype, protocol, tcp_flags};
use crate::{Address, Reason, protected};

/// What the shortest way asks for.
pub trait Lists {
    /// As [`Tables::policy`], of an address whose family is known.
    fn policy<const V4: bool>(&self, address: &Address) -> Option<PolicyValue>;

    /// Whether a living protected prefix may cover an address; `false` only when none does.
    fn may_be_living(&self, address: &Address) -> bool;

    /// Whether a connection that came in may be under way by this key; `false` only when none is.
    fn may_be_followed(&self, key: &FlowKey) -> bool;

    /// Whether the sandbox may speak as an address.
    #[inline(always)]
    fn owns(&self, sandbox: &SandboxConfig, address: &Address) -> bool {
        owns(sandbox, address)
    }

    /// Whether an address is the sandbox's.
    #[inline(always)]
    fn is_sandboxs(&self, sandbox: &SandboxConfig, address: &Address) -> bool {
        is_sandboxs(sandbox, address)
    }

    /// Whether an address may open connections to the sandbox.
    #[inline(always)]
    fn may_open(&self, sandbox: &SandboxConfig, address: &Address) -> bool {
        may_open(sandbox, address)
    }
}

/// Whether the sandbox may speak as an address.
#[inline(always)]
#[must_use]
pub fn owns(sandbox: &SandboxConfig, address: &Address) -> bool {
    super::owns(sandbox, address)
}

/// Whether an address is the sandbox's; any is without the check of its source.
#[inline(always)]
#[must_use]
pub fn is_sandboxs(sandbox: &SandboxConfig, address: &Address) -> bool {
    sandbox.flags & SandboxFlags::ANY_SOURCE != 0 || super::covered(sandbox, address)
}

/// Whether an address may open connections to the sandbox.
#[inline(always)]
#[must_use]
pub fn may_open(sandbox: &SandboxConfig, address: &Address) -> bool {
    flow::may_open(sandbox, address)
}

impl<T: Tables> Lists for T {
    #[inline(always)]
    fn policy<const V4: bool>(&self, address: &Address) -> Option<PolicyValue> {
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

    /// The two bytes at a place, to be asked only for what it [`Self::holds`].
    fn two<const AT: usize>(&self) -> [u8; 2];

    /// As [`Self::two`], four bytes.
    fn four<const AT: usize>(&self) -> [u8; 4];

    /// As [`Self::two`], eight bytes.
    fn eight<const AT: usize>(&self) -> [u8; 8];
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
    let (from, to) = (mac::<_, SOURCE_MAC>(head), mac::<_, DESTINATION_MAC>(head));
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
    let from_gateway = mac::<_, SOURCE_MAC>(head) == sandbox.gateway_mac;
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

const DESTINATION_MAC: usize = 0;
const SOURCE_MAC: usize = 6;
const ETHERTYPE: usize = 12;
const IP: usize = 14;
/// Behind an IPv4 header without options, and behind an IPv6 header.
const V4_TRANSPORT: usize = IP + 20;
const V6_TRANSPORT: usize = IP + 40;
/// From the first byte of a TCP header to its length and flags.
const TCP_OFFSET: usize = 12;
const UDP_HEADER: u32 = 8;
const TCP_HEADER: u32 = 20;

enum Family {
    V4,
    V6,
}

/// What has another way: the sealed, and connections that are accounted.
const ELSEWHERE: u32 = SandboxFlags::SEALED | SandboxFlags::ACCOUNTED;

/// The family of what may be a plain packet without a link header.
#[inline(always)]
fn version<H: Head>(head: &H, sandbox: &SandboxConfig) -> Option<Family> {
    if sandbox.flags & ELSEWHERE != 0 || !head.holds(V4_TRANSPORT as u32 + UDP_HEADER) {
        return None;
    }
    match head.two::<IP>()[0] >> 4 {
        4 => Some(Family::V4),
        6 => Some(Family::V6),
        _ => None,
    }
}

/// The family of what may be a plain packet.
#[inline(always)]
fn family<H: Head>(head: &H, sandbox: &SandboxConfig) -> Option<Family> {
    let holds = head.holds(V4_TRANSPORT as u32 + UDP_HEADER);
    if sandbox.flags & ELSEWHERE != 0 || head.is_tagged() || !holds {
        return None;
    }
    match u16::from_be_bytes(head.two::<ETHERTYPE>()) {
        ethertype::IPV4 => Some(Family::V4),
        ethertype::IPV6 => Some(Family::V6),
        _ => None,
    }
}

#[inline(always)]
fn v4<H: Head>(head: &H) -> Option<Plain> {
    const HEADER: u32 = (V4_TRANSPORT - IP) as u32;
    /// More fragments, or an offset, in what comes behind the length.
    const NOT_WHOLE: u64 = 0x3fff << 32;
    let first = u32::from_be_bytes(head.four::<IP>());
    let second = u64::from_be_bytes(head.eight::<{ IP + 4 }>());
    let (total, protocol) = (first & 0xffff, (second >> 16) as u8);
    if first >> 24 != 0x45 || second & NOT_WHOLE != 0 || total < HEADER || total + IP as u32 > head.length() {
        return None;
    }
    let address = |bytes| Address::from_words(0, 0xffff << 32 | u64::from(u32::from_be_bytes(bytes)));
    let addresses = (address(head.four::<{ IP + 12 }>()), address(head.four::<{ IP + 16 }>()));
    transport::<H, V4_TRANSPORT, { V4_TRANSPORT + TCP_OFFSET }>(head, addresses, protocol, total - HEADER)
}

#[inline(always)]
fn v6<H: Head>(head: &H) -> Option<Plain> {
    let holds = head.holds(V6_TRANSPORT as u32 + UDP_HEADER);
    if !holds || head.two::<IP>()[0] >> 4 != 6 {
        return None;
    }
    let second = u32::from_be_bytes(head.four::<{ IP + 4 }>());
    let (payload, protocol) = (second >> 16, (second >> 8) as u8);
    if payload + V6_TRANSPORT as u32 > head.length() {
        return None;
    }
    let word = u64::from_be_bytes;
    let source = Address::from_words(word(head.eight::<{ IP + 8 }>()), word(head.eight::<{ IP + 16 }>()));
    let destination = Address::from_words(word(head.eight::<{ IP + 24 }>()), word(head.eight::<{ IP + 32 }>()));
    if source.is_v4() || destination.is_v4() {
        return None;
    }
    transport::<H, V6_TRANSPORT, { V6_TRANSPORT + TCP_OFFSET }>(head, (source, destination), protocol, payload)
}

/// Reads the transport header at `AT`, of a packet of which `length` bytes are left there. `FLAGS` is where TCP has its flags.
#[inline(always)]
fn transport<H: Head, const AT: usize, const FLAGS: usize>(
    head: &H,
    (source, destination): (Address, Address),
    protocol: u8,
    length: u32,
) -> Option<Plain> {
    let first = u64::from_be_bytes(head.eight::<AT>());
    let (source_port, destination_port) = ((first >> 48) as u16, (first >> 32) as u16);
    let mut tcp_flags = 0;
    match protocol {
        protocol::TCP => {
            if !head.holds(AT as u32 + TCP_HEADER) {
                return None;
            }
            let [offset, flags] = head.two::<FLAGS>();
            let header = u32::from(offset >> 4) * 4;
            if header < TCP_HEADER || header > length {
                return None;
            }
            tcp_flags = flags;
        }
        protocol::UDP => {
            let datagram = u32::from((first >> 16) as u16);
            let dhcp = dhcp::is_port(source_port) || dhcp::is_port(destination_port);
            if datagram < UDP_HEADER || datagram > length || dhcp {
                return None;
            }
        }
        _ => return None,
    }
    let transport = AT as u32;
    Some(Plain { source, destination, protocol, source_port, destination_port, transport, tcp_flags })
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

#[inline(always)]
fn mac<H: Head, const AT: usize>(head: &H) -> Mac {
    let [a, b, c, d, e, f, ..] = head.eight::<AT>();
    Mac::new([a, b, c, d, e, f])
}
