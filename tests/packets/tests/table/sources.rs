//! Who a packet says it is from.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{GATEWAY_MAC, Row, arp, row, tcp, udp};

const WEB: &str = "203.0.113.10";
const WEB6: &str = "2001:db8:10::10";
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x77];

pub(super) fn rows() -> Vec<Row> {
    [addresses(), any(), macs()].concat()
}

fn addresses() -> Vec<Row> {
    let from = |source: &str| tcp(if source.contains(':') { WEB6 } else { WEB }, 443).from(source);
    vec![
        row("its address", Free, from("198.51.100.2"), AllowedByDefault),
        row("first of its prefix", Free, from("198.51.100.16"), AllowedByDefault),
        row("last of its prefix", Free, from("198.51.100.31"), AllowedByDefault),
        row("before its prefix", Free, from("198.51.100.15"), SourceAddress),
        row("after its prefix", Free, from("198.51.100.32"), SourceAddress),
        row("its ipv6 address", Free, from("2001:db8:a::2"), AllowedByDefault),
        row("last of its ipv6 prefix", Free, from("2001:db8:a:1:ffff:ffff:ffff:ffff"), AllowedByDefault),
        row("beside its ipv6 address", Free, from("2001:db8:a::3"), SourceAddress),
        row("after its ipv6 prefix", Free, from("2001:db8:a:2::"), SourceAddress),
        row("its link-local address", Free, from("fe80::ff:fe00:2"), SourceAddress),
        row("another sandbox", Free, from("198.51.100.66"), SourceAddress),
        row("the gateway", Free, from("198.51.100.1"), SourceAddress),
        row("the gateway over ipv6", Free, from("2001:db8:a::1"), SourceAddress),
        row("the destination itself", Free, from(WEB), SourceAddress),
        row("a far address", Free, udp(WEB, 9).from("8.8.8.8"), SourceAddress),
        row("loopback", Free, from("127.0.0.1"), SourceAddress),
        row("ipv6 loopback", Free, from("::1"), SourceAddress),
        row("nobody", Free, from("0.0.0.0"), SourceAddress),
        row("ipv6 nobody", Free, from("::"), SourceAddress),
        row("broadcast", Free, from("255.255.255.255"), SourceAddress),
        row("a group", Free, from("224.0.0.1"), SourceAddress),
        row("an ipv6 group", Free, from("ff02::1"), SourceAddress),
        row("spoofed comes before denied", Shut, from("8.8.8.8"), SourceAddress),
        row("spoofed, with a lost policy", Orphaned, from("8.8.8.8"), SourceAddress),
    ]
}

fn any() -> Vec<Row> {
    let from = |source: &str| tcp(if source.contains(':') { WEB6 } else { WEB }, 443).from(source);
    vec![
        row("any address", AnySource, from("8.8.8.8"), AllowedByDefault),
        row("any private address", AnySource, from("10.1.2.3"), AllowedByDefault),
        row("any ipv6 address", AnySource, from("2606:4700::9"), AllowedByDefault),
        row("any address but the gateway's", AnySource, from("198.51.100.1"), SourceAddress),
        row("any ipv6 address but the gateway's", AnySource, from("2001:db8:a::1"), SourceAddress),
        row("any address but the gateway's link-local one", AnySource, from("fe80::ff:fe00:1"), SourceAddress),
        row("any address but loopback", AnySource, from("127.0.0.1"), SourceAddress),
        row("any address but nobody", AnySource, from("0.0.0.0"), SourceAddress),
        row("any address but this network's", AnySource, from("0.1.2.3"), SourceAddress),
        row("any address but a group", AnySource, from("239.1.2.3"), SourceAddress),
        row("any address but a reserved one", AnySource, from("240.0.0.1"), SourceAddress),
        row("any address but broadcast", AnySource, from("255.255.255.255"), SourceAddress),
        row("last that can be any", AnySource, from("223.255.255.255"), AllowedByDefault),
        row("any ipv6 address but loopback", AnySource, from("::1"), SourceAddress),
        row("any ipv6 address but nobody", AnySource, from("::"), SourceAddress),
        row("any ipv6 address but a group", AnySource, from("ff0e::1"), SourceAddress),
    ]
}

fn macs() -> Vec<Row> {
    let web = || tcp(WEB, 443);
    let ask = || arp(1, "198.51.100.2", "198.51.100.1");
    vec![
        row("its mac, checked", CheckedMac, web(), AllowedByDefault),
        row("its mac, checked, arp", CheckedMac, ask(), GatewayArp),
        row("another mac, not checked", Free, web().link_from(STRANGER), AllowedByDefault),
        row("another mac, checked", CheckedMac, web().link_from(STRANGER), SourceMac),
        row("another mac, checked, ipv6", CheckedMac, tcp(WEB6, 443).link_from(STRANGER), SourceMac),
        row(
            "another mac in frame and arp, not checked",
            Free,
            ask().link_from(STRANGER).network_bytes(8, &STRANGER),
            GatewayArp,
        ),
        row("a mac that differs in a bit, checked", CheckedMac, web().link_from([2, 0, 0, 0, 0, 3]), SourceMac),
        row("the gateway's mac", Free, web().link_from(GATEWAY_MAC), SourceMac),
        row("a group's mac", Free, web().link_from([1, 0, 0x5e, 0, 0, 1]), SourceMac),
        row("everybody's mac", Free, web().link_from([0xff; 6]), SourceMac),
        row("the mac comes before the address", CheckedMac, web().link_from(STRANGER).from(WEB), SourceMac),
    ]
}
