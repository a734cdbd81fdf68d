//! TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792) and ICMPv6 (RFC 4443) headers, as far as a verdict needs them.

use super::{Flow, Fragment, Source, ethertype, protocol};
use crate::Reason;

/// TCP flags.
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Opens a connection.
    pub const SYN: u8 = 2;
    /// Ends a connection at once.
    pub const RST: u8 = 4;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 16;
}

/// ICMP types.
pub mod icmp4 {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Router advertisement (RFC 1256).
    pub const ROUTER_ADVERTISEMENT: u8 = 9;
    /// Router solicitation (RFC 1256).
    pub const ROUTER_SOLICITATION: u8 = 10;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
}

/// ICMPv6 types.
pub mod icmp6 {
    /// First of the four errors: unreachable, too big, time exceeded, parameter problem.
    pub const FIRST_ERROR: u8 = 1;
    /// Last of the four errors.
    pub const LAST_ERROR: u8 = 4;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// First of the multicast listener messages (RFC 2710).
    pub const LISTENER_QUERY: u8 = 130;
    /// Last of the multicast listener messages of version 1.
    pub const LISTENER_DONE: u8 = 132;
    /// Router solicitation.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour solicitation.
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    /// Redirect.
    pub const REDIRECT: u8 = 137;
    /// Multicast listener report of version 2 (RFC 3810).
    pub const LISTENER_REPORT_V2: u8 = 143;
}

#[inline(always)]
pub(super) fn parse<S: Source>(frame: &S, flow: &mut Flow) -> Result<(), Reason> {
    let icmp = if flow.ethertype == ethertype::IPV4 { protocol::ICMP } else { protocol::ICMPV6 };
    match flow.protocol {
        protocol::IGMP if flow.ethertype == ethertype::IPV4 => return Err(Reason::GroupMembership),
        protocol::TCP | protocol::UDP => {}
        other if other == icmp => {}
        _ => return Err(Reason::Protocol),
    }
    if flow.fragment == Fragment::Later {
        return Ok(());
    }
    let result = match flow.protocol {
        protocol::TCP => tcp(frame, flow),
        protocol::UDP => udp(frame, flow),
        _ => icmp_header(frame, flow),
    };
    // What is missing from a first fragment was put into a later one on purpose (RFC 1858).
    if result.is_err() && flow.fragment == Fragment::First {
        return Err(Reason::Fragment);
    }
    result
}

#[inline(always)]
fn tcp<S: Source>(frame: &S, flow: &mut Flow) -> Result<(), Reason> {
    const HEADER: u32 = 20;
    let header: [u8; HEADER as usize] = frame.load(flow.transport).ok_or(Reason::MalformedTransport)?;
    let length = u32::from(header[12] >> 4) * 4;
    if length < HEADER || length > flow.transport_length {
        return Err(Reason::MalformedTransport);
    }
    ports([header[0], header[1], header[2], header[3]], flow);
    flow.tcp_flags = header[13];
    Ok(())
}

#[inline(always)]
fn udp<S: Source>(frame: &S, flow: &mut Flow) -> Result<(), Reason> {
    const HEADER: u32 = 8;
    let header: [u8; HEADER as usize] = frame.load(flow.transport).ok_or(Reason::MalformedTransport)?;
    let length = u32::from(u16::from_be_bytes([header[4], header[5]]));
    let too_long = flow.fragment != Fragment::First && length > flow.transport_length;
    if flow.transport_length < HEADER || length < HEADER || too_long {
        return Err(Reason::MalformedTransport);
    }
    ports([header[0], header[1], header[2], header[3]], flow);
    Ok(())
}

#[inline(always)]
fn icmp_header<S: Source>(frame: &S, flow: &mut Flow) -> Result<(), Reason> {
    const HEADER: u32 = 8;
    let header: [u8; HEADER as usize] = frame.load(flow.transport).ok_or(Reason::MalformedTransport)?;
    if flow.transport_length < HEADER {
        return Err(Reason::MalformedTransport);
    }
    ports([header[4], header[5], header[0], header[1]], flow);
    Ok(())
}

#[inline(always)]
fn ports(bytes: [u8; 4], flow: &mut Flow) {
    flow.source_port = u16::from_be_bytes([bytes[0], bytes[1]]);
    flow.destination_port = u16::from_be_bytes([bytes[2], bytes[3]]);
    flow.has_ports = true;
}
