//! What a plain packet says, read from fixed places in its first bytes.

use crate::Address;
use crate::abi::{Mac, SandboxConfig, SandboxFlags};
use crate::decide::dhcp;
use crate::packet::{ethertype, protocol};

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

pub(super) enum Family {
    V4,
    V6,
}

/// What has another way: the sealed, and connections that are accounted.
const ELSEWHERE: u32 = SandboxFlags::SEALED | SandboxFlags::ACCOUNTED;

/// The family of what may be a plain packet without a link header.
#[inline(always)]
pub(super) fn version<H: Head>(head: &H, sandbox: &SandboxConfig) -> Option<Family> {
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
pub(super) fn family<H: Head>(head: &H, sandbox: &SandboxConfig) -> Option<Family> {
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
pub(super) fn v4<H: Head>(head: &H) -> Option<Plain> {
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
pub(super) fn v6<H: Head>(head: &H) -> Option<Plain> {
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

#[inline(always)]
pub(super) fn destination_mac<H: Head>(head: &H) -> Mac {
    mac::<H, DESTINATION_MAC>(head)
}

#[inline(always)]
pub(super) fn source_mac<H: Head>(head: &H) -> Mac {
    mac::<H, SOURCE_MAC>(head)
}

#[inline(always)]
fn mac<H: Head, const AT: usize>(head: &H) -> Mac {
    let [a, b, c, d, e, f, ..] = head.eight::<AT>();
    Mac::new([a, b, c, d, e, f])
}
