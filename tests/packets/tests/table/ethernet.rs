//! Ethernet: ethertypes, lengths, padding, the destination's MAC address.
//!
//! `BPF_PROG_TEST_RUN` takes no frame that ends inside a whole IP header; the parser's own tests and the wire's have those.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Row, Told, other, row, tcp, udp};

const WEB: &str = "203.0.113.10";
const WEB6: &str = "2001:db8:10::10";

pub(super) fn rows() -> Vec<Row> {
    let everybody = [0xff; 6];
    let neighbour = [2, 0, 0, 0, 0, 9];
    let group = [1, 0, 0x5e, 0, 0, 0xfb];
    vec![
        row("ipv4", Free, tcp(WEB, 443), AllowedByDefault),
        row("ipv6", Free, tcp(WEB6, 443), AllowedByDefault),
        row("padded to 60 bytes", Free, udp(WEB, 9).trailer(10), AllowedByDefault),
        row("padded ipv6", Free, udp(WEB6, 9).trailer(1), AllowedByDefault),
        row(
            "1514 bytes",
            Free,
            udp(WEB, 9).transport_length(1480).transport_bytes(4, &1480_u16.to_be_bytes()),
            AllowedByDefault,
        ),
        row("lldp", Free, other(0x88cc, &[0; 46]), Ethertype),
        row("mpls", Free, other(0x8847, &[0; 46]), Ethertype),
        row("pppoe discovery", Free, other(0x8863, &[0; 46]), Ethertype),
        row("pppoe session", Free, other(0x8864, &[0; 46]), Ethertype),
        row("reverse arp", Free, other(0x8035, &[0; 46]), Ethertype),
        row("macsec", Free, other(0x88e5, &[0; 46]), Ethertype),
        row("eapol", Free, other(0x888e, &[0; 46]), Ethertype),
        row("batman", Free, other(0x4305, &[0; 46]), Ethertype),
        row("ethertype ffff", Free, other(0xffff, &[0; 46]), Ethertype),
        row("ethertype zero", Free, other(0, &[0; 46]), Ethertype),
        row("802.3 length with llc and snap", Free, tcp(WEB, 443).ethertype(46), Ethertype),
        row("802.3 greatest length", Free, other(1500, &[0xaa; 60]), Ethertype),
        row("between length and ethertype", Free, other(0x05ff, &[0; 46]), Ethertype),
        row("ipv4 called ipv6", Free, tcp(WEB, 443).ethertype(0x86dd), MalformedIp).told(Told::Link),
        row("ipv6 called ipv4", Free, tcp(WEB6, 443).ethertype(0x0800), MalformedIp).told(Told::Link),
        row("to everybody's mac", Free, tcp(WEB, 443).link_to(everybody), DestinationMac),
        row("to a group's mac", Free, tcp(WEB, 443).link_to(group), DestinationMac),
        row("to a neighbour's mac", Free, tcp(WEB, 443).link_to(neighbour), DestinationMac),
        row("to a neighbour's mac over ipv6", Free, udp(WEB6, 9).link_to(neighbour), DestinationMac),
        row("to no mac", Wide, tcp(WEB, 443).link_to([0; 6]), DestinationMac),
        row("to its own mac", Free, tcp(WEB, 443).link_to(test_packets::SANDBOX_MAC), DestinationMac),
        row("a denial comes before the destination's mac", Shut, tcp(WEB, 443).link_to(everybody), AddressDenied),
    ]
}
