//! A sandbox that has ended, and one whose policy is lost.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Row, arp, icmp, other, row, tcp, udp};

const WEB: &str = "203.0.113.10";

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("ended, tcp", Ended, tcp(WEB, 443), Sealed),
        row("ended, udp over ipv6", Ended, udp("2001:db8:10::10", 53), Sealed),
        row("ended, nameserver", Ended, udp("8.8.8.8", 53), Sealed),
        row("ended, arp", Ended, arp(1, "198.51.100.2", "198.51.100.1"), Sealed),
        row("ended, neighbour solicitation", Ended, icmp("ff02::1:ff00:1", 135, 0).hops(255), Sealed),
        row("ended, malformed", Ended, tcp(WEB, 443).claim(9), Sealed),
        row("ended, another protocol", Ended, other(0x88cc, &[0; 46]), Sealed),
        row("ended, vlan", Ended, tcp(WEB, 443).tag(0x8100, 7), Sealed),
        row("policy lost, tcp", Orphaned, tcp(WEB, 443), NoPolicy),
        row("policy lost, ipv6", Orphaned, tcp("2001:db8:10::10", 443), NoPolicy),
        row("policy lost, protected", Orphaned, tcp("10.0.0.1", 443), NoPolicy),
        row("policy lost, malformed", Orphaned, tcp(WEB, 443).claim(9), MalformedIp),
    ]
}
