//! VLAN tags in the frame (the network card's own way of passing tags needs a real device).

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Row, Told, arp, other, row, tcp, udp};

const WEB: &str = "203.0.113.10";
const WEB6: &str = "2001:db8:10::10";
const CUSTOMER: u16 = 0x8100;
const SERVICE: u16 = 0x88a8;

pub(super) fn rows() -> Vec<Row> {
    let web = || tcp(WEB, 443);
    vec![
        row("priority tag", Free, web().tag(CUSTOMER, 0), AllowedByDefault),
        row("priority tag with a priority", Free, web().tag(CUSTOMER, 0xe000), AllowedByDefault),
        row("priority tag, may be dropped", Free, web().tag(CUSTOMER, 0x1000), AllowedByDefault),
        row("priority service tag", Free, web().tag(SERVICE, 0), AllowedByDefault),
        row("priority tag before ipv6", Free, udp(WEB6, 9).tag(CUSTOMER, 0), AllowedByDefault),
        row("priority tag before arp", Free, arp(1, "198.51.100.2", "198.51.100.1").tag(CUSTOMER, 0), GatewayArp),
        row("priority tag before a denied address", Shut, web().tag(CUSTOMER, 0), AddressDenied),
        row("priority tag before a spoofed source", Free, web().from("198.51.100.3").tag(CUSTOMER, 0), SourceAddress),
        row("priority tag before an 802.3 length", Free, web().ethertype(46).tag(CUSTOMER, 0), Ethertype),
        row("priority tag before lldp", Free, other(0x88cc, &[0; 46]).tag(CUSTOMER, 0), Ethertype),
        row("vlan 1", Free, web().tag(CUSTOMER, 1), Vlan),
        row("vlan 4095", Free, web().tag(CUSTOMER, 4095), Vlan),
        row("vlan 7 with a priority", Free, web().tag(CUSTOMER, 0xe007), Vlan),
        row("vlan 7 by service tag", Free, web().tag(SERVICE, 7), Vlan),
        row("a tag that nobody takes off (9100)", Free, other(0x9100, &[0; 46]), Ethertype),
        row("a tag that nobody takes off (9200)", Free, other(0x9200, &[0; 46]), Ethertype),
        row("vlan 7 before arp", Free, arp(1, "198.51.100.2", "198.51.100.1").tag(CUSTOMER, 7), Vlan),
        row("vlan 7 in vlan 5", Free, web().tag(SERVICE, 5).tag(CUSTOMER, 7), Vlan),
        row("vlan 7 in a priority tag", Free, web().tag(CUSTOMER, 0).tag(CUSTOMER, 7), Vlan),
        row("two priority tags", Free, web().tag(CUSTOMER, 0).tag(CUSTOMER, 0), Vlan),
        row("priority tag in a priority service tag", Free, web().tag(SERVICE, 0).tag(CUSTOMER, 0), Vlan),
        row("three tags", Free, web().tag(CUSTOMER, 0).tag(CUSTOMER, 0).tag(CUSTOMER, 0), Vlan),
        row("tag missing three bytes", Free, web().tag(CUSTOMER, 0).cut(15), TruncatedFrame).told(Told::Link),
        row("tag missing a byte", Free, web().tag(CUSTOMER, 0).cut(17), TruncatedFrame).told(Told::Link),
    ]
}
