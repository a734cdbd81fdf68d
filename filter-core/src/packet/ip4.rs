//! IPv4 (RFC 791), its options and its fragments.

use super::{Flow, Fragment, Source, protocol};
use crate::{Address, Reason};

const HEADER: u32 = 20;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

#[inline(always)]
pub(super) fn parse<S: Source>(frame: &S, flow: &mut Flow) -> Result<(), Reason> {
    let header: [u8; HEADER as usize] = frame.load(flow.network).ok_or(Reason::MalformedIp)?;
    let header_length = u32::from(header[0] & 0x0f) * 4;
    let total = u32::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || header_length < HEADER {
        return Err(Reason::MalformedIp);
    }
    flow.source = Address::v4([header[12], header[13], header[14], header[15]]);
    flow.destination = Address::v4([header[16], header[17], header[18], header[19]]);
    flow.protocol = header[9];
    flow.hop_limit = header[8];
    flow.has_addresses = true;
    if total < header_length || total > frame.length() - flow.network {
        return Err(Reason::MalformedIp);
    }
    if header_length > HEADER {
        options(frame, flow.network + HEADER, header_length - HEADER)?;
    }
    flow.transport = flow.network + header_length;
    flow.transport_length = total - header_length;
    fragment(u16::from_be_bytes([header[6], header[7]]), flow)
}

/// Follows `length` bytes of options, at most 40. Source routes ask for another path than the one that is judged.
#[inline(always)]
fn options<S: Source>(frame: &S, start: u32, length: u32) -> Result<(), Reason> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    /// More than any offset. Masking by it keeps what the verifier knows of an offset the same in every round, so that it need
    /// not follow every sum of option lengths.
    const OFFSETS: u32 = 63;

    let mut at = 0;
    for _ in 0..40 {
        if at >= length {
            return Ok(());
        }
        let [kind] = frame.load(start + at).ok_or(Reason::MalformedIp)?;
        let size = match kind {
            END => return Ok(()),
            NO_OPERATION => 1,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Err(Reason::SourceRoute),
            _ => {
                let [size] = frame.load(start + at + 1).ok_or(Reason::MalformedIp)?;
                if size < 2 {
                    return Err(Reason::MalformedIp);
                }
                u32::from(size)
            }
        };
        if size > length - at {
            return Err(Reason::MalformedIp);
        }
        at = (at + size) & OFFSETS;
    }
    Ok(())
}

/// TCP is never fragmented by an honest sender; a fragment of it can overlap the header that was judged (RFC 1858, RFC 3128).
#[inline(always)]
fn fragment(field: u16, flow: &mut Flow) -> Result<(), Reason> {
    let more = field & MORE_FRAGMENTS != 0;
    let offset = u32::from(field & OFFSET) * 8;
    if offset == 0 && !more {
        return Ok(());
    }
    flow.fragment = if offset == 0 { Fragment::First } else { Fragment::Later };
    let ragged = more && !flow.transport_length.is_multiple_of(8);
    let oversized = offset + flow.transport_length > 0xffff;
    if flow.protocol == protocol::TCP || flow.transport_length == 0 || ragged || oversized {
        return Err(Reason::Fragment);
    }
    Ok(())
}
