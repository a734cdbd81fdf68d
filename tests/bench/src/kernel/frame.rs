//! The first client's datagrams as frames, for runs of a program without the packet's way.

use crate::rounds::Frames;
use crate::setup::List;
use crate::world::{CLIENT_MAC, GATEWAY_MAC, LANES, PORT};
use std::net::Ipv4Addr;

/// Frames to random destinations, of the list of a thousand and not of it.
pub(super) fn frames() -> Frames {
    let mut random = fastrand::Rng::with_seed(2);
    let list = List::Thousand.spread();
    let (allowed, denied) =
        (0..64).map(|_| (frame(list.inside(&mut random)), frame(list.outside(&mut random)))).unzip();
    Frames { allowed, denied }
}

/// A frame of 60 bytes; its UDP checksum is left out, as IPv4 lets one.
fn frame(to: Ipv4Addr) -> Vec<u8> {
    const UDP: u16 = 8 + 18;
    let mut ip = [0x45, 0, 0, 20 + UDP as u8, 0, 0, 0x40, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ip[12..16].copy_from_slice(&LANES[0].client.octets());
    ip[16..].copy_from_slice(&to.octets());
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    let mut frame = Vec::from(GATEWAY_MAC);
    frame.extend(CLIENT_MAC);
    frame.extend([8, 0]);
    frame.extend(ip);
    for word in [9_000, PORT, UDP, 0] {
        frame.extend(word.to_be_bytes());
    }
    frame.resize(60, 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_sums_up_to_all_ones() {
        for frame in frames().allowed {
            let words = frame[14..34].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
            let sum: u32 = words.sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
            assert_eq!(frame.len(), 60);
        }
    }
}
