//! IPv6 (RFC 8200) and its extension headers.

use super::{Flow, Fragment, Source, protocol};
use crate::{Address, Reason};

const HEADER: u32 = 40;
/// Extension headers that are followed. Honest traffic has one or two.
const MAX_EXTENSIONS: usize = 6;

/// The source and the destination in a header.
#[inline(always)]
pub(super) fn addresses(header: &[u8; HEADER as usize]) -> (Address, Address) {
    let words = header.as_chunks().0;
    let address = |high: [u8; 8], low: [u8; 8]| Address::from_words(u64::from_be_bytes(high), u64::from_be_bytes(low));
    (address(words[1], words[2]), address(words[3], words[4]))
}

#[inline(always)]
pub(super) fn parse<S: Source>(frame: &S, flow: &mut Flow) -> Result<(), Reason> {
    let header: [u8; HEADER as usize] = frame.load(flow.network).ok_or(Reason::MalformedIp)?;
    if header[0] >> 4 != 6 {
        return Err(Reason::MalformedIp);
    }
    (flow.source, flow.destination) = addresses(&header);
    flow.protocol = header[6];
    flow.hop_limit = header[7];
    flow.has_addresses = true;
    let payload = u32::from(u16::from_be_bytes([header[4], header[5]]));
    // A payload length of zero is a jumbogram (RFC 2675) or nothing at all.
    if payload == 0 || payload > frame.length() - flow.network - HEADER {
        return Err(Reason::MalformedIp);
    }
    if flow.source.is_v4() || flow.destination.is_v4() {
        return Err(Reason::MappedAddress);
    }
    flow.transport = flow.network + HEADER;
    flow.transport_length = payload;
    extensions(frame, flow)
}

#[inline(always)]
fn extensions<S: Source>(frame: &S, flow: &mut Flow) -> Result<(), Reason> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION_OPTIONS: u8 = 60;
    const MOBILITY: u8 = 135;
    const HOST_IDENTITY: u8 = 139;
    const SHIM6: u8 = 140;

    for nth in 0..=MAX_EXTENSIONS {
        match flow.protocol {
            // Hop-by-hop options stand first or nowhere (RFC 8200, section 4.1).
            HOP_BY_HOP if nth > 0 => return Err(Reason::ExtensionHeader),
            HOP_BY_HOP | DESTINATION_OPTIONS => {
                let [next, length] = frame.load(flow.transport).ok_or(Reason::MalformedIp)?;
                advance(flow, next, (u32::from(length) + 1) * 8)?;
            }
            FRAGMENT => {
                let header: [u8; 8] = frame.load(flow.transport).ok_or(Reason::MalformedIp)?;
                advance(flow, header[0], 8)?;
                fragment(u16::from_be_bytes([header[2], header[3]]), flow)?;
                if flow.fragment == Fragment::Later {
                    return Ok(());
                }
            }
            ROUTING => return Err(Reason::SourceRoute),
            MOBILITY | HOST_IDENTITY | SHIM6 => return Err(Reason::ExtensionHeader),
            protocol::TCP if flow.fragment == Fragment::First => return Err(Reason::Fragment),
            _ => return Ok(()),
        }
    }
    Err(Reason::ExtensionHeader)
}

#[inline(always)]
fn advance(flow: &mut Flow, next: u8, length: u32) -> Result<(), Reason> {
    if length > flow.transport_length {
        // A first fragment has its whole chain of headers (RFC 7112).
        return Err(if flow.fragment == Fragment::First { Reason::Fragment } else { Reason::MalformedIp });
    }
    flow.protocol = next;
    flow.transport += length;
    flow.transport_length -= length;
    Ok(())
}

/// Judges a fragment header's offset field; the flow stands behind that header already.
#[inline(always)]
fn fragment(field: u16, flow: &mut Flow) -> Result<(), Reason> {
    let more = field & 1 != 0;
    let offset = u32::from(field & 0xfff8);
    if flow.fragment != Fragment::Whole {
        return Err(Reason::ExtensionHeader);
    }
    if offset == 0 && !more {
        flow.fragment = Fragment::Atomic;
        return Ok(());
    }
    flow.fragment = if offset == 0 { Fragment::First } else { Fragment::Later };
    let ragged = more && !flow.transport_length.is_multiple_of(8);
    let oversized = offset + flow.transport_length > 0xffff;
    // Of a later fragment only the protocol is known: one that needs no ports to be judged may go on.
    let opaque = offset != 0 && !matches!(flow.protocol, protocol::UDP | protocol::ICMPV6);
    if flow.transport_length == 0 || ragged || oversized || opaque {
        return Err(Reason::Fragment);
    }
    Ok(())
}
