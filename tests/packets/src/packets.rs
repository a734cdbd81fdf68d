//! Packets as an honest sandbox sends them, to start a row from.

use crate::{Frame, GATEWAY_MAC, SANDBOX_MAC, SANDBOX4, SANDBOX6};
use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, TcpHeader,
    UdpHeader,
};
use filter_core::packet::{ethertype, protocol};
use std::net::{IpAddr, Ipv4Addr};

const PORT: u16 = 40_000;

/// A TCP SYN.
pub fn tcp(to: &str, port: u16) -> Frame {
    let mut header = TcpHeader::new(PORT, port, 1, 64_000);
    header.syn = true;
    ip(to, protocol::TCP, &header.to_bytes())
}

/// A UDP datagram with eight bytes in it.
pub fn udp(to: &str, port: u16) -> Frame {
    let header = UdpHeader { source_port: PORT, destination_port: port, length: 16, checksum: 0 };
    ip(to, protocol::UDP, &[header.to_bytes().as_slice(), b"question"].concat())
}

/// An ICMP or ICMPv6 message, by the family of `to`, with a header of eight bytes.
pub fn icmp(to: &str, kind: u8, code: u8) -> Frame {
    let number = if to.contains(':') { protocol::ICMPV6 } else { protocol::ICMP };
    ip(to, number, &[kind, code, 0, 0, 0, 1, 0, 1])
}

/// An ICMP error to `to` that quotes the packet `about`: its header and eight bytes behind.
pub fn icmp_error(to: &str, kind: u8, code: u8, about: &Frame) -> Frame {
    let length = about.network.len() + about.transport.len().min(8);
    let number = if to.contains(':') { protocol::ICMPV6 } else { protocol::ICMP };
    ip(to, number, &[&[kind, code, 0, 0, 0, 0, 0, 0], &about.bytes()[14..14 + length]].concat())
}

/// An IP packet of any protocol.
pub fn ip(to: &str, number: u8, transport: &[u8]) -> Frame {
    match to.parse().expect("an address") {
        IpAddr::V4(to) => {
            let mut header =
                Ipv4Header::new(transport.len() as u16, 64, IpNumber(number), SANDBOX4.octets(), to.octets())
                    .expect("it fits a packet");
            header.header_checksum = header.calc_header_checksum();
            Frame::new(ethertype::IPV4, number, header.to_bytes().to_vec(), transport.to_vec())
        }
        IpAddr::V6(to) => {
            let header = Ipv6Header {
                traffic_class: 0,
                flow_label: Ipv6FlowLabel::ZERO,
                payload_length: 0,
                next_header: IpNumber(number),
                hop_limit: 64,
                source: SANDBOX6.octets(),
                destination: to.octets(),
            };
            Frame::new(ethertype::IPV6, number, header.to_bytes().to_vec(), transport.to_vec())
        }
    }
}

/// ARP from the sandbox: operation 1 asks, 2 answers. A question goes to everybody, an answer to the gateway.
pub fn arp(operation: u16, sender: &str, target: &str) -> Frame {
    let address = |text: &str| text.parse::<Ipv4Addr>().expect("an IPv4 address").octets();
    let (all, nobody) = ([0xff; 6], [0; 6]);
    let target_mac = if operation == 1 { nobody } else { GATEWAY_MAC };
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation(operation),
        &SANDBOX_MAC,
        &address(sender),
        &target_mac,
        &address(target),
    )
    .expect("lengths that match");
    let frame = other(ethertype::ARP, &packet.to_bytes());
    if operation == 1 { frame.link_to(all) } else { frame }
}

/// A frame of any ethertype.
pub fn other(ethertype: u16, body: &[u8]) -> Frame {
    Frame::new(ethertype, 0, body.to_vec(), Vec::new())
}
