//! A frame taken apart, down to the transport header.

use crate::address::is_mapped;
use crate::reason::{
    ETHERTYPE, EXTENSION_HEADER, FRAGMENT, GROUP_MEMBERSHIP, MALFORMED_IP, MAPPED_ADDRESS, PROTOCOL, SOURCE_ROUTE,
    TRUNCATED_FRAME, VLAN,
};
use crate::transport::{self, Transport};
use std::net::IpAddr;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// A frame that makes sense.
pub(crate) struct Frame {
    pub(crate) to: [u8; 6],
    pub(crate) from: [u8; 6],
    pub(crate) body: Body,
    /// Nothing is behind the body, or only what fills a short frame up.
    pub(crate) tidy: bool,
}

pub(crate) enum Body {
    Arp(Vec<u8>),
    Ip(Packet),
}

pub(crate) struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) hops: u8,
    pub(crate) piece: Piece,
    pub(crate) transport: Transport,
}

/// Which piece of a datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Whole,
    /// Whole, and yet behind a fragment header.
    Atomic,
    First,
    Later,
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Frame, u8> {
    let to = array(bytes, 0).ok_or(TRUNCATED_FRAME)?;
    let from = array(bytes, 6).ok_or(TRUNCATED_FRAME)?;
    let mut ethertype = u16_at(bytes, 12).ok_or(TRUNCATED_FRAME)?;
    let mut at = 14;
    if matches!(ethertype, 0x8100 | 0x88a8) {
        let control = u16_at(bytes, 14).ok_or(TRUNCATED_FRAME)?;
        let inner = u16_at(bytes, 16).ok_or(TRUNCATED_FRAME)?;
        if control & 0xfff != 0 {
            return Err(VLAN);
        }
        (ethertype, at) = (inner, 18);
    }
    let inside = &bytes[at..];
    let (body, length) = match ethertype {
        0x8100 | 0x88a8 => return Err(VLAN),
        0x0806 => (Body::Arp(inside.to_vec()), 28),
        0x0800 => (Body::Ip(ip4(inside)?), usize::from(u16_at(inside, 2).unwrap_or_default())),
        0x86dd => (Body::Ip(ip6(inside)?), 40 + usize::from(u16_at(inside, 4).unwrap_or_default())),
        _ => return Err(ETHERTYPE),
    };
    Ok(Frame { to, from, body, tidy: is_padding(inside.get(length..).unwrap_or_default(), bytes.len()) })
}

/// Whether the end of a frame of `length` bytes is nothing, or zeros up to the least length that a frame has on a wire: 60 bytes,
/// or 64 with a tag. Only ARP is short enough to need them, with 42 bytes or 46.
fn is_padding(end: &[u8], length: usize) -> bool {
    match (length, end.len()) {
        (_, 0) => true,
        (60, 14 | 18) | (64, 14 | 18) => end.iter().all(|byte| *byte == 0),
        _ => false,
    }
}

fn ip4(bytes: &[u8]) -> Result<Packet, u8> {
    let start: [u8; 20] = array(bytes, 0).ok_or(MALFORMED_IP)?;
    let header = usize::from(start[0] & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([start[2], start[3]]));
    if start[0] >> 4 != 4 || header < 20 || total < header || bytes.len() < total {
        return Err(MALFORMED_IP);
    }
    options4(&bytes[20..header])?;
    let word = u16::from_be_bytes([start[6], start[7]]);
    let (more, offset) = (word & 0x2000 != 0, usize::from(word & 0x1fff) * 8);
    let piece = piece(more, offset, total - header, Piece::Whole)?;
    let protocol = start[9];
    if protocol == 2 {
        return Err(GROUP_MEMBERSHIP);
    }
    if ![ICMP, TCP, UDP].contains(&protocol) {
        return Err(PROTOCOL);
    }
    let address = |at: usize| IpAddr::from([start[at], start[at + 1], start[at + 2], start[at + 3]]);
    Ok(Packet {
        source: address(12),
        destination: address(16),
        hops: start[8],
        piece,
        transport: transport::parse(protocol, &bytes[header..total], piece)?,
    })
}

fn options4(mut options: &[u8]) -> Result<(), u8> {
    while let Some(&kind) = options.first() {
        let length = match kind {
            0 => return Ok(()),
            1 => 1,
            131 | 137 => return Err(SOURCE_ROUTE),
            _ => usize::from(*options.get(1).ok_or(MALFORMED_IP)?),
        };
        if (kind != 1 && length < 2) || length > options.len() {
            return Err(MALFORMED_IP);
        }
        options = &options[length..];
    }
    Ok(())
}

/// The piece that a fragment's fields tell. `alone` is what it is when there are no others.
fn piece(more: bool, offset: usize, length: usize, alone: Piece) -> Result<Piece, u8> {
    let fragment = more || offset > 0;
    if (fragment && length == 0) || (more && !length.is_multiple_of(8)) || offset + length > 65_535 {
        return Err(FRAGMENT);
    }
    Ok(match (more, offset) {
        (false, 0) => alone,
        (true, 0) => Piece::First,
        _ => Piece::Later,
    })
}

fn ip6(bytes: &[u8]) -> Result<Packet, u8> {
    let start: [u8; 40] = array(bytes, 0).ok_or(MALFORMED_IP)?;
    let length = usize::from(u16::from_be_bytes([start[4], start[5]]));
    if start[0] >> 4 != 6 || bytes.len() - 40 < length || length == 0 {
        return Err(MALFORMED_IP);
    }
    let address = |at: usize| IpAddr::from(array::<16>(&start, at).unwrap_or_default());
    let (source, destination) = (address(8), address(24));
    if is_mapped(source) || is_mapped(destination) {
        return Err(MAPPED_ADDRESS);
    }
    let chain = chain(start[6], &bytes[40..40 + length])?;
    Ok(Packet {
        source,
        destination,
        hops: start[7],
        piece: chain.piece,
        transport: transport::parse(chain.protocol, chain.rest, chain.piece)?,
    })
}

struct Chain<'a> {
    protocol: u8,
    piece: Piece,
    rest: &'a [u8],
}

/// Follows extension headers: at most six, hop-by-hop options first if at all, one fragment header.
fn chain(mut next: u8, mut rest: &[u8]) -> Result<Chain<'_>, u8> {
    let mut place = Piece::Whole;
    let mut fragmented = false;
    for number in 0.. {
        let header = matches!(next, 0 | 43 | 44 | 60 | 135 | 139 | 140);
        if place == Piece::Later || !header {
            break;
        }
        if next == 43 {
            return Err(SOURCE_ROUTE);
        }
        if !matches!(next, 0 | 44 | 60) || (next == 0 && number > 0) || number == 6 {
            return Err(EXTENSION_HEADER);
        }
        let short = if place == Piece::First { FRAGMENT } else { MALFORMED_IP };
        let start: [u8; 8] = array(rest, 0).ok_or(short)?;
        let length = if next == 44 { 8 } else { usize::from(start[1]) * 8 + 8 };
        if rest.len() < length {
            return Err(short);
        }
        if next == 44 && fragmented {
            return Err(EXTENSION_HEADER);
        }
        rest = &rest[length..];
        if next == 44 {
            let word = u16::from_be_bytes([start[2], start[3]]);
            place = piece(word & 1 != 0, usize::from(word & 0xfff8), rest.len(), Piece::Atomic)?;
            fragmented = true;
        }
        next = start[0];
    }
    if ![TCP, UDP, ICMPV6].contains(&next) {
        return Err(if place == Piece::Later { FRAGMENT } else { PROTOCOL });
    }
    Ok(Chain { protocol: next, piece: place, rest })
}

pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}
