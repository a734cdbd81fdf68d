//! A connection's addresses and ports, as the kernel looks for its socket by them.

use filter_core::packet::Flow;

/// Source address, destination address, source port, destination port, in network byte order and without gaps: `bpf_sock_tuple`. Zero behind
/// that, where the addresses are IPv4.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Tuple(pub [u32; 9]);

/// The namespace of what a program is about: its packet's device, or its socket.
pub const CURRENT_NETNS: u64 = -1_i64 as u64;

/// How long the tuple of a family is, in bytes.
#[inline(always)]
pub fn size(is_v4: bool) -> u32 {
    if is_v4 { 12 } else { 36 }
}

impl Tuple {
    /// Of a packet.
    #[inline(always)]
    pub fn of(flow: &Flow) -> Tuple {
        let ports = ports(flow.source_port, flow.destination_port);
        let (source, destination) = (flow.source.octets(), flow.destination.octets());
        let word = |octets: &[u8; 16], at: usize| {
            u32::from_ne_bytes([octets[4 * at], octets[4 * at + 1], octets[4 * at + 2], octets[4 * at + 3]])
        };
        if flow.source.is_v4() {
            return Tuple::v4(word(&source, 3), word(&destination, 3), ports);
        }
        let four = |octets: &[u8; 16]| [word(octets, 0), word(octets, 1), word(octets, 2), word(octets, 3)];
        Tuple::v6(four(&source), four(&destination), ports)
    }

    /// Of an answer to a packet.
    #[inline(always)]
    pub fn back(flow: &Flow) -> Tuple {
        let Flow { source, destination, source_port, destination_port, .. } = *flow;
        Tuple::of(&Flow {
            source: destination,
            destination: source,
            source_port: destination_port,
            destination_port: source_port,
            ..Flow::default()
        })
    }

    #[inline(always)]
    pub fn v4(source: u32, destination: u32, ports: u32) -> Tuple {
        Tuple([source, destination, ports, 0, 0, 0, 0, 0, 0])
    }

    #[inline(always)]
    pub fn v6([a, b, c, d]: [u32; 4], [e, f, g, h]: [u32; 4], ports: u32) -> Tuple {
        Tuple([a, b, c, d, e, f, g, h, ports])
    }
}

/// Both ports.
#[inline(always)]
pub fn ports(source: u16, destination: u16) -> u32 {
    let ([a, b], [c, d]) = (source.to_be_bytes(), destination.to_be_bytes());
    u32::from_ne_bytes([a, b, c, d])
}
