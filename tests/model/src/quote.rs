//! The packet that an ICMP error quotes: it must be one that the sandbox may have sent.

use crate::address::is_mapped;
use crate::link::is_for;
use crate::packet::{ICMP, ICMPV6, Packet, Piece, TCP, UDP, array, u16_at};
use crate::{Host, Sandbox, lists};
use std::net::IpAddr;

/// The reason that the quoted packet would pass with, if it may be the sandbox's own.
pub(crate) fn may_be_own(sandbox: &Sandbox, host: &Host, error: &Packet, message: &[u8]) -> Option<u8> {
    if !matches!(error.piece, Piece::Whole | Piece::Atomic) {
        return None;
    }
    let quoted = message.get(8..)?;
    let (source, destination, protocol, rest) =
        if error.source.is_ipv4() { quoted4(quoted)? } else { quoted6(quoted)? };
    if source != error.destination || !is_for(sandbox, source) {
        return None;
    }
    let port = if matches!(protocol, TCP | UDP) { Some(u16_at(rest, 2)?) } else { None };
    let reason = lists::judge(sandbox, host, destination, port);
    (reason < 10).then_some(reason)
}

type Quoted<'a> = (IpAddr, IpAddr, u8, &'a [u8]);

fn quoted4(bytes: &[u8]) -> Option<Quoted<'_>> {
    let start: [u8; 20] = array(bytes, 0)?;
    let header = usize::from(start[0] & 0xf) * 4;
    let later = u16::from_be_bytes([start[6], start[7]]) & 0x1fff != 0;
    if start[0] >> 4 != 4 || header < 20 || later || ![ICMP, TCP, UDP].contains(&start[9]) {
        return None;
    }
    let rest = bytes.get(header..).filter(|rest| rest.len() >= 8)?;
    Some((array::<4>(&start, 12)?.into(), array::<4>(&start, 16)?.into(), start[9], rest))
}

fn quoted6(bytes: &[u8]) -> Option<Quoted<'_>> {
    let start: [u8; 40] = array(bytes, 0)?;
    let (source, destination) = (array::<16>(&start, 8)?.into(), array::<16>(&start, 24)?.into());
    if start[0] >> 4 != 6 || ![ICMPV6, TCP, UDP].contains(&start[6]) || is_mapped(source) || is_mapped(destination) {
        return None;
    }
    let rest = bytes.get(40..).filter(|rest| rest.len() >= 8)?;
    Some((source, destination, start[6], rest))
}
