//! TCP, UDP, and the protocols that are neither.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Row, ip, row, tcp, udp};

const WEB: &str = "203.0.113.10";
const WEB6: &str = "2001:db8:10::10";

/// Tunnels, groups, routing, and numbers that nobody knows.
const OTHERS: &[(u8, &str)] = &[
    (0, "hop-by-hop options in ipv4"),
    (3, "gateway to gateway"),
    (4, "ipv4 in ip"),
    (33, "dccp"),
    (41, "ipv6 in ip"),
    (46, "rsvp"),
    (47, "gre"),
    (50, "esp"),
    (51, "authentication"),
    (88, "eigrp"),
    (89, "ospf"),
    (94, "ip in ip"),
    (103, "pim"),
    (112, "vrrp"),
    (115, "l2tp"),
    (132, "sctp"),
    (136, "udp-lite"),
    (137, "mpls in ip"),
    (143, "ethernet in ip"),
    (144, "aggfrag"),
    (253, "an experiment"),
    (255, "raw"),
];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = tcp_and_udp();
    rows.extend(
        OTHERS
            .iter()
            .map(|(number, name)| row(format!("{number}, {name}"), Free, ip(WEB, *number, &[0; 40]), Protocol)),
    );
    rows.extend([
        row("ipv4 in ipv6", Free, ip(WEB6, 4, &[0; 40]), Protocol),
        row("ipv6 in ipv6", Free, ip(WEB6, 41, &[0; 40]), Protocol),
        row("gre in ipv6", Free, ip(WEB6, 47, &[0; 40]), Protocol),
        row("esp in ipv6", Free, ip(WEB6, 50, &[0; 40]), Protocol),
        row("sctp in ipv6", Free, ip(WEB6, 132, &[0; 40]), Protocol),
        row("an allowed packet in ip in ip", Wide, ip(WEB, 4, &tcp(WEB, 443).bytes()[14..]), Protocol),
        row(
            "group membership report",
            Free,
            ip("224.0.0.22", 2, &[0x22, 0, 0, 0, 0, 0, 0, 0]).options(&[148, 4, 0, 0]),
            GroupMembership,
        ),
        row("group membership query", Free, ip(WEB, 2, &[0x11, 0, 0, 0, 0, 0, 0, 0]), GroupMembership),
        row("igmp over ipv6", Free, ip(WEB6, 2, &[0x11, 0, 0, 0, 0, 0, 0, 0]), Protocol),
        row("multicast by udp", Free, udp("224.0.0.251", 5353).link_to([1, 0, 0x5e, 0, 0, 0xfb]), ProtectedRange),
        row("broadcast by udp", Free, udp("255.255.255.255", 9).link_to([0xff; 6]), ProtectedRange),
    ]);
    rows
}

fn tcp_and_udp() -> Vec<Row> {
    let syn = || tcp(WEB, 443);
    let ask = || udp(WEB, 9000);
    let flags = |flags: u8| tcp(WEB, 443).transport_bytes(13, &[flags]);
    vec![
        row("tcp reset", Free, flags(0x04), AllowedByDefault),
        row("tcp of no flags", Free, flags(0), AllowedByDefault),
        row("tcp of all flags", Free, flags(0xff), AllowedByDefault),
        row("tcp acknowledgement to a denied address", Shut, flags(0x10), AddressDenied),
        row("tcp options", Free, syn().transport_length(60).transport_bytes(12, &[0xf0]), AllowedByDefault),
        row("tcp with payload", Free, syn().transport_length(700), AllowedByDefault),
        row("tcp port 0", Free, tcp(WEB, 0), AllowedByDefault),
        row("tcp missing a byte", Free, syn().transport_length(19), MalformedTransport),
        row("tcp of ports alone", Free, syn().transport_length(4), MalformedTransport),
        row("tcp missing over ipv6", Free, tcp(WEB6, 443).transport_length(1), MalformedTransport),
        row("tcp header of 16 bytes", Free, syn().transport_bytes(12, &[0x40]), MalformedTransport),
        row("tcp header of 0 bytes", Free, syn().transport_bytes(12, &[0]), MalformedTransport),
        row("tcp header longer than the packet", Free, syn().transport_bytes(12, &[0x60]), MalformedTransport),
        row("tcp options in the padding", Free, syn().transport_bytes(12, &[0x60]).trailer(4), MalformedTransport),
        row("udp of no payload", Free, ask().transport_length(8).transport_bytes(4, &[0, 8]), AllowedByDefault),
        row("udp shorter than the packet", Free, ask().transport_bytes(4, &[0, 8]), AllowedByDefault),
        row("udp missing a byte", Free, ask().transport_length(7), MalformedTransport),
        row("udp that ends in the padding", Free, ask().transport_length(7).trailer(20), MalformedTransport),
        row("udp length 0", Free, ask().transport_bytes(4, &[0, 0]), MalformedTransport),
        row("udp length 0 over ipv6", Free, udp(WEB6, 9).transport_bytes(4, &[0, 0]), MalformedTransport),
        row("udp length 7", Free, ask().transport_bytes(4, &[0, 7]), MalformedTransport),
        row("udp longer than the packet", Free, ask().transport_bytes(4, &[0, 17]), MalformedTransport),
        row("udp as long as its padding", Free, ask().transport_bytes(4, &[0, 17]).trailer(1), MalformedTransport),
        row("quic", Free, udp(WEB, 443), AllowedByDefault),
    ]
}
