//! From bytes to a [`Flow`], or to the reason why there is none.
//!
//! Everything a sandbox can put on a wire is decided here or by the caller, nothing by accident: a header that is cut short,
//! contradicts itself or is not known denies. Lengths are checked against the frame, not against what was loaded.

mod ethernet;
mod ip4;
mod ip6;
mod quote;
mod transport;

use crate::decide::plain::Head;
use crate::{Address, Reason};
use core::array;

pub use quote::{is_error, quoted};
pub use transport::{icmp4, icmp6, tcp_flags};

/// A frame that starts with its Ethernet header.
pub trait Source {
    /// Length of the frame in bytes, whatever part of it is linear in memory.
    fn length(&self) -> u32;

    /// The `N` bytes from `offset`, or `None` when the frame ends before.
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;

    /// The control information of a VLAN tag that the device has taken off the frame (IEEE 802.1Q), if there was one.
    fn stripped_vlan(&self) -> Option<u16>;
}

/// Ethertypes that are understood.
pub mod ethertype {
    /// Internet Protocol version 4.
    pub const IPV4: u16 = 0x0800;
    /// Address Resolution Protocol.
    pub const ARP: u16 = 0x0806;
    /// Internet Protocol version 6.
    pub const IPV6: u16 = 0x86dd;
}

/// IP protocols that are understood.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// Group membership for IPv4.
    pub const IGMP: u8 = 2;
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
}

/// Where a packet stands in a fragmented datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragment {
    /// Not fragmented.
    #[default]
    Whole,
    /// A whole datagram behind a fragment header (RFC 6946).
    Atomic,
    /// The first of several; its transport header is all there.
    First,
    /// A later one: no ports.
    Later,
}

/// What is known of a packet. Filled as far as parsing came, so that an event about a refused packet can tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(8))]
pub struct Flow {
    /// Destination MAC address.
    pub destination_mac: [u8; 6],
    /// Source MAC address.
    pub source_mac: [u8; 6],
    /// Ethertype behind a priority tag; 0 when unknown.
    pub ethertype: u16,
    /// Offset of the network header.
    pub network: u32,
    /// Whether `source`, `destination` and `protocol` are set.
    pub has_addresses: bool,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Transport protocol, behind extension headers.
    pub protocol: u8,
    /// Time to live or hop limit.
    pub hop_limit: u8,
    /// Place in a fragmented datagram.
    pub fragment: Fragment,
    /// Offset of the transport header.
    pub transport: u32,
    /// Bytes from the transport header to the end of the IP packet.
    pub transport_length: u32,
    /// Whether the ports, or the ICMP type and code, are set.
    pub has_ports: bool,
    /// Source port; the identifier of an ICMP echo.
    pub source_port: u16,
    /// Destination port; for ICMP the type in the high and the code in the low byte.
    pub destination_port: u16,
    /// TCP flags: FIN, SYN, RST, PSH, ACK from the lowest bit on.
    pub tcp_flags: u8,
}

impl Flow {
    /// ICMP type, for ICMP and ICMPv6.
    #[inline(always)]
    #[must_use]
    pub const fn icmp_type(&self) -> u8 {
        (self.destination_port >> 8) as u8
    }

    /// ICMP code, for ICMP and ICMPv6.
    #[inline(always)]
    #[must_use]
    pub const fn icmp_code(&self) -> u8 {
        self.destination_port as u8
    }
}

/// Parses a frame into `flow`. For ARP only the Ethernet header is parsed here.
///
/// # Errors
/// The reason to deny, with `flow` filled as far as the frame made sense.
#[inline(always)]
pub fn parse<S: Source>(frame: &S, flow: &mut Flow) -> Result<(), Reason> {
    ethernet::parse(frame, flow)?;
    if flow.ethertype == ethertype::ARP { Ok(()) } else { parse_ip(frame, flow) }
}

#[inline(always)]
fn parse_ip<S: Source>(frame: &S, flow: &mut Flow) -> Result<(), Reason> {
    match flow.ethertype {
        ethertype::IPV4 => {
            ip4::parse(frame, flow)?;
            transport::parse(frame, flow)
        }
        ethertype::IPV6 => {
            ip6::parse(frame, flow)?;
            transport::parse(frame, flow)
        }
        _ => Err(Reason::Ethertype),
    }
}

/// Parses a packet that begins with its IP header.
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn parse_without_link<S: Source>(packet: &S, flow: &mut Flow) -> Result<(), Reason> {
    let [first] = packet.load(0).ok_or(Reason::MalformedIp)?;
    flow.ethertype = match first >> 4 {
        4 => ethertype::IPV4,
        6 => ethertype::IPV6,
        _ => return Err(Reason::MalformedIp),
    };
    flow.network = 0;
    parse_ip(packet, flow)
}

/// A frame in memory.
pub struct Frame<'a> {
    /// The bytes, from the Ethernet header on.
    pub bytes: &'a [u8],
    /// See [`Source::stripped_vlan`].
    pub stripped_vlan: Option<u16>,
}

impl Head for Frame<'_> {
    fn length(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn is_tagged(&self) -> bool {
        self.stripped_vlan.is_some()
    }

    fn holds(&self, length: u32) -> bool {
        length as usize <= self.bytes.len()
    }

    fn two<const AT: usize>(&self) -> [u8; 2] {
        array::from_fn(|nth| self.bytes[AT + nth])
    }

    fn four<const AT: usize>(&self) -> [u8; 4] {
        array::from_fn(|nth| self.bytes[AT + nth])
    }

    fn eight<const AT: usize>(&self) -> [u8; 8] {
        array::from_fn(|nth| self.bytes[AT + nth])
    }
}

impl Source for Frame<'_> {
    fn length(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let start = offset as usize;
        self.bytes.get(start..start.checked_add(N)?)?.try_into().ok()
    }

    fn stripped_vlan(&self) -> Option<u16> {
        self.stripped_vlan
    }
}
