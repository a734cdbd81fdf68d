//! The packet that an ICMP error is about (RFC 792, RFC 4443): as much of it as a flow needs.

use super::{Flow, Fragment, Source, ethertype, icmp4, icmp6, ip6, protocol};
use crate::Address;

/// Whether the packet is an ICMP or ICMPv6 error.
#[inline(always)]
#[must_use]
pub fn is_error(flow: &Flow) -> bool {
    flow.has_ports
        && match flow.protocol {
            protocol::ICMP => {
                matches!(flow.icmp_type(), icmp4::UNREACHABLE | icmp4::TIME_EXCEEDED | icmp4::PARAMETER_PROBLEM)
            }
            protocol::ICMPV6 => matches!(flow.icmp_type(), icmp6::FIRST_ERROR..=icmp6::LAST_ERROR),
            _ => false,
        }
}

/// Fills `inner` with the packet quoted by an error: addresses, protocol and ports. Tells whether the packet is an error and quotes
/// TCP, UDP or an echo whole enough. IPv6 extension headers are not followed.
#[inline(always)]
#[must_use]
pub fn quoted<S: Source>(frame: &S, flow: &Flow, inner: &mut Flow) -> bool {
    parse(frame, flow, inner).is_some()
}

#[inline(always)]
fn parse<S: Source>(frame: &S, flow: &Flow, inner: &mut Flow) -> Option<()> {
    const ICMP_HEADER: u32 = 8;
    if !is_error(flow) || flow.fragment == Fragment::First {
        return None;
    }
    let at = flow.transport + ICMP_HEADER;
    *inner = Flow::default();
    inner.ethertype = flow.ethertype;
    inner.network = at;
    if flow.ethertype == ethertype::IPV4 {
        let header: [u8; 20] = frame.load(at)?;
        let length = u32::from(header[0] & 0x0f) * 4;
        let later = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
        if header[0] >> 4 != 4 || length < 20 || later {
            return None;
        }
        inner.source = Address::v4([header[12], header[13], header[14], header[15]]);
        inner.destination = Address::v4([header[16], header[17], header[18], header[19]]);
        inner.protocol = header[9];
        inner.transport = at + length;
    } else {
        let header: [u8; 40] = frame.load(at)?;
        if header[0] >> 4 != 6 {
            return None;
        }
        (inner.source, inner.destination) = ip6::addresses(&header);
        inner.protocol = header[6];
        inner.transport = at + 40;
        if inner.source.is_v4() || inner.destination.is_v4() {
            return None;
        }
    }
    // What comes behind the error is no part of it.
    if inner.transport + 8 > flow.transport + flow.transport_length {
        return None;
    }
    let ports: [u8; 8] = frame.load(inner.transport)?;
    let (first, second) = (u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]]));
    match inner.protocol {
        protocol::TCP | protocol::UDP => {
            inner.source_port = first;
            inner.destination_port = second;
        }
        protocol::ICMP | protocol::ICMPV6 if inner.protocol == flow.protocol => {
            inner.destination_port = first;
            inner.source_port = u16::from_be_bytes([ports[4], ports[5]]);
        }
        _ => return None,
    }
    inner.has_addresses = true;
    inner.has_ports = true;
    Some(())
}
