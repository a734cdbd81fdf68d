//! A sandbox that has ended, and one whose policy is lost.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{GATEWAY_MAC, Row, Told, arp, icmp, other, row, tcp, udp};

const OWN: &str = "198.51.100.2";
const GATEWAY: &str = "198.51.100.1";
const WEB: &str = "203.0.113.10";

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("ended, tcp", Ended, tcp(WEB, 443), Sealed),
        row("ended, udp over ipv6", Ended, udp("2001:db8:10::10", 53), Sealed),
        row("ended, nameserver", Ended, udp("8.8.8.8", 53), Sealed),
        row("ended, arp", Ended, arp(1, OWN, GATEWAY), Sealed),
        row("ended, neighbour solicitation", Ended, icmp("ff02::1:ff00:1", 135, 0).hops(255), Sealed),
        row("ended, asks its gateway alone", Ended, arp(1, OWN, GATEWAY).link_to(GATEWAY_MAC), GatewayArp),
        row("ended, answers its gateway", Ended, arp(2, OWN, GATEWAY).link_to(GATEWAY_MAC), GatewayArp),
        row(
            "ended, answers its gateway for another",
            Ended,
            arp(2, "198.51.100.66", GATEWAY).link_to(GATEWAY_MAC),
            Sealed,
        ),
        row("ended, answers another", Ended, arp(2, OWN, GATEWAY).link_to([2, 0, 0, 0, 0, 9]), Sealed),
        row("ended, malformed", Ended, tcp(WEB, 443).claim(9), Sealed).told(Told::Addresses),
        row("ended, another protocol", Ended, other(0x88cc, &[0; 46]), Sealed),
        row("ended, vlan", Ended, tcp(WEB, 443).tag(0x8100, 7), Sealed).told(Told::Link),
        row("policy lost, tcp", Orphaned, tcp(WEB, 443), NoPolicy),
        row("policy lost, ipv6", Orphaned, tcp("2001:db8:10::10", 443), NoPolicy),
        row("policy lost, protected", Orphaned, tcp("10.0.0.1", 443), NoPolicy),
        row("policy lost, malformed", Orphaned, tcp(WEB, 443).claim(9), MalformedIp),
    ]
}
