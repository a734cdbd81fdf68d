//! ICMP and ICMPv6 types.

use filter_core::Reason;
use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Row, icmp, ip, row};

const WEB: &str = "203.0.113.10";
const WEB6: &str = "2001:db8:10::10";

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("echo request to a denied address", Shut, icmp(WEB, 8, 0), AddressDenied),
        row("echo request to the metadata service", Wide, icmp("169.254.169.254", 8, 0), ProtectedRange),
        row("echo request to the gateway", Free, icmp("198.51.100.1", 8, 0), ProtectedHost),
        row("echo request to the gateway over ipv6", Free, icmp("2001:db8:a::1", 128, 0), ProtectedHost),
        row("echo request to all nodes", Free, icmp("ff02::1", 128, 0), ProtectedRange),
        row("unreachable to a denied address, quoting an allowed flow", Listed, quoting("9.9.9.9"), AddressDenied),
        row("unreachable to an allowed address", Listed, quoting(WEB), AllowedByList),
        row("echo request of a spoofed source", Free, icmp(WEB, 8, 0).from("203.0.113.10"), SourceAddress),
        row("header missing a byte", Free, ip(WEB, 1, &[8, 0, 0, 0, 0, 1, 0]), MalformedTransport),
        row("icmpv6 header missing a byte", Free, ip(WEB6, 58, &[128, 0, 0, 0, 0, 1, 0]), MalformedTransport),
        row("header ends in the padding", Free, ip(WEB, 1, &[8, 0, 0, 0]).trailer(30), MalformedTransport),
        row("icmp over ipv6", Free, ip(WEB6, 1, &[8, 0, 0, 0, 0, 1, 0, 1]), Protocol),
        row("icmpv6 over ipv4", Free, ip(WEB, 58, &[128, 0, 0, 0, 0, 1, 0, 1]), Protocol),
    ];
    rows.extend(
        IP4.iter().map(|(kind, name, reason)| row(format!("type {kind}, {name}"), Free, icmp(WEB, *kind, 0), *reason)),
    );
    rows.extend(
        IP6.iter().map(|(kind, name, reason)| {
            row(format!("icmpv6 type {kind}, {name}"), Free, icmp(WEB6, *kind, 0), *reason)
        }),
    );
    rows
}

fn quoting(to: &str) -> test_packets::Frame {
    let allowed = test_packets::tcp(WEB, 443).bytes();
    ip(to, 1, &[&[3, 13, 0, 0, 0, 0, 0, 0], &allowed[14..42]].concat())
}

const IP4: &[(u8, &str, Reason)] = &[
    (0, "echo reply", AllowedByDefault),
    (1, "reserved", IcmpType),
    (3, "unreachable", AllowedByDefault),
    (4, "source quench", IcmpType),
    (5, "redirect", RouterRole),
    (6, "alternate host address", IcmpType),
    (8, "echo request", AllowedByDefault),
    (9, "router advertisement", RouterRole),
    (10, "router solicitation", IcmpType),
    (11, "time exceeded", AllowedByDefault),
    (12, "parameter problem", AllowedByDefault),
    (13, "timestamp", IcmpType),
    (14, "timestamp reply", IcmpType),
    (15, "information request", IcmpType),
    (17, "address mask request", IcmpType),
    (30, "traceroute", IcmpType),
    (40, "photuris", IcmpType),
    (42, "extended echo request", IcmpType),
    (255, "reserved", IcmpType),
];

const IP6: &[(u8, &str, Reason)] = &[
    (0, "reserved", IcmpType),
    (1, "unreachable", AllowedByDefault),
    (2, "packet too big", AllowedByDefault),
    (3, "time exceeded", AllowedByDefault),
    (4, "parameter problem", AllowedByDefault),
    (5, "unassigned error", IcmpType),
    (100, "private experiment", IcmpType),
    (127, "last error", IcmpType),
    (128, "echo request", AllowedByDefault),
    (129, "echo reply", AllowedByDefault),
    (130, "listener query", GroupMembership),
    (131, "listener report", GroupMembership),
    (132, "listener done", GroupMembership),
    (133, "router solicitation", Dhcp),
    (134, "router advertisement", RouterRole),
    (135, "neighbour solicitation", Neighbour),
    (136, "neighbour advertisement", Neighbour),
    (137, "redirect", RouterRole),
    (138, "router renumbering", IcmpType),
    (139, "node information query", IcmpType),
    (143, "listener report of version 2", GroupMembership),
    (151, "multicast router advertisement", IcmpType),
    (155, "routing protocol control", IcmpType),
    (160, "extended echo request", IcmpType),
    (255, "reserved", IcmpType),
];
