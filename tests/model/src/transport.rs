//! Transport headers.

use crate::packet::{ICMP, ICMPV6, Piece, TCP, UDP, u16_at};
use crate::reason::{FRAGMENT, MALFORMED_TRANSPORT};

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp {
        source: u16,
        destination: u16,
        flags: u8,
    },
    Udp {
        source: u16,
        destination: u16,
    },
    /// ICMP or ICMPv6, as the packet's family has it.
    Icmp {
        kind: u8,
        code: u8,
        /// From the type on.
        message: Vec<u8>,
    },
    /// A later fragment.
    Unknown {
        protocol: u8,
    },
}

pub(crate) fn parse(protocol: u8, bytes: &[u8], piece: Piece) -> Result<Transport, u8> {
    let fragment = matches!(piece, Piece::First | Piece::Later);
    if protocol == TCP && fragment {
        return Err(FRAGMENT);
    }
    if piece == Piece::Later {
        return Ok(Transport::Unknown { protocol });
    }
    let short = if piece == Piece::First { FRAGMENT } else { MALFORMED_TRANSPORT };
    let least = if protocol == TCP { 20 } else { 8 };
    if bytes.len() < least {
        return Err(short);
    }
    let half = |at| u16_at(bytes, at).ok_or(short);
    match protocol {
        TCP => {
            let header = usize::from(bytes[12] >> 4) * 4;
            if header < 20 || header > bytes.len() {
                return Err(MALFORMED_TRANSPORT);
            }
            Ok(Transport::Tcp { source: half(0)?, destination: half(2)?, flags: bytes[13] })
        }
        UDP => {
            let length = usize::from(half(4)?);
            if length < 8 || (!fragment && length > bytes.len()) {
                return Err(short);
            }
            Ok(Transport::Udp { source: half(0)?, destination: half(2)? })
        }
        ICMP | ICMPV6 => Ok(Transport::Icmp { kind: bytes[0], code: bytes[1], message: bytes.to_vec() }),
        _ => Err(MALFORMED_TRANSPORT),
    }
}
