//! Frames made by hand, as a gateway takes them.

use crate::target::{PORT, Target};
use crate::witness::octets;
use anyhow::Result;
use std::net::IpAddr;
use test_packets::{Frame, Offload, RawSocket, ip};

/// The transport protocol of datagrams.
pub(crate) const UDP: u8 = 17;
/// That of TCP.
pub(crate) const TCP: u8 = 6;

/// A packet of any protocol from the sandbox.
pub(crate) fn packet(target: &Target, to: IpAddr, protocol: u8, content: &[u8]) -> Frame {
    let frame = ip(&to.to_string(), protocol, content).link_from(target.own_mac).link_to(target.gateway_mac);
    frame.from(&target.own.to_string())
}

/// A datagram's header and these bytes.
pub(crate) fn udp_of(from: u16, to: u16, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len() + 8).unwrap_or(u16::MAX);
    let fields = [from, to, length, 0].map(u16::to_be_bytes);
    [fields.concat().as_slice(), bytes].concat()
}

/// A datagram with the canary in it.
pub(crate) fn datagram(target: &Target, to: IpAddr) -> Frame {
    packet(target, to, UDP, &udp_of(40_000, PORT, target.canary.as_bytes()))
}

/// A segment of TCP with these flags, and the canary behind its header.
pub(crate) fn segment(target: &Target, to: IpAddr, flags: u8) -> Frame {
    let mut header = vec![0; 20];
    header[..2].copy_from_slice(&40_001_u16.to_be_bytes());
    header[2..4].copy_from_slice(&80_u16.to_be_bytes());
    header[12] = 5 << 4;
    header[13] = flags;
    header[14..16].copy_from_slice(&[0xff, 0xff]);
    packet(target, to, TCP, &[&header, target.canary.as_bytes()].concat())
}

/// A segment that asks for a connection to port 443, from one port after the other, whole with its checksum.
pub(crate) fn connection(target: &Target, to: IpAddr, number: u16) -> Frame {
    const SYN: u8 = 2;
    let mut header = [0; 20];
    header[..2].copy_from_slice(&(30_000 + number % 10_000).to_be_bytes());
    header[2..4].copy_from_slice(&443_u16.to_be_bytes());
    header[4..8].copy_from_slice(b"told");
    header[12..16].copy_from_slice(&[5 << 4, SYN, 0xff, 0xff]);
    let pseudo = [octets(target.own), octets(to), vec![0, TCP, 0, 20]].concat();
    let sum = checksum(&[pseudo, header.to_vec()].concat());
    header[16..18].copy_from_slice(&sum.to_be_bytes());
    packet(target, to, TCP, &header)
}

/// The IP packet in a frame.
pub(crate) fn inner(frame: &Frame) -> Vec<u8> {
    let mut bytes = frame.bytes();
    complete(&mut bytes, 14);
    bytes[14..].to_vec()
}

/// Sends frames on the sandbox's device.
pub(crate) fn send(target: &Target, frames: &[Frame]) -> Result<()> {
    let mut socket = RawSocket::open(&target.device)?;
    for frame in frames {
        let mut bytes = frame.bytes();
        let mut network = 14;
        while matches!(bytes.get(network - 2..network), Some([0x81, 0x00] | [0x88, 0xa8])) {
            network += 4;
        }
        complete(&mut bytes, network);
        socket.send(&bytes, Offload::default())?;
    }
    Ok(())
}

/// Writes the checksum of an IPv4 header (RFC 791, section 3.1), where a router looks at it.
fn complete(bytes: &mut [u8], network: usize) {
    let Some(first) = bytes.get(network).copied().filter(|first| first >> 4 == 4) else { return };
    let end = network + usize::from(first & 0xf) * 4;
    if bytes.len() < end || end < network + 20 {
        return;
    }
    bytes[network + 10..network + 12].fill(0);
    let sum = checksum(&bytes[network..end]);
    bytes[network + 10..network + 12].copy_from_slice(&sum.to_be_bytes());
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}
