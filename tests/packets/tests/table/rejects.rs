//! Which denied packets are answered, and which never are. What the answers are is checked elsewhere.

use super::inbound::{flow, tcp_from};
use filter_core::Reason::*;
use test_packets::Answered::{No, Suppressed, Yes};
use test_packets::Effect::Touches;
use test_packets::Profile::*;
use test_packets::{Frame, GATEWAY_MAC, Row, arp, icmp, icmp_error, ip, other, row, tcp, towards, udp};

const WEB: &str = "203.0.113.10";
const DENIED: &str = "9.9.9.9";
const DENIED6: &str = "2001:db8:20::9";
const PRIVATE: &str = "10.0.5.9";
const PEER: &str = "10.7.0.9";
const NEIGHBOUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

pub(super) fn rows() -> Vec<Row> {
    [answered(), never(), groups(), limits()].concat()
}

fn answered() -> Vec<Row> {
    let yes = |name: &str, frame: Frame, reason| row(name, Rejecting, frame, reason).answered(Yes);
    vec![
        yes("tcp, denied", tcp(DENIED, 443), AddressDenied),
        yes("tcp over ipv6, denied", tcp(DENIED6, 443), AddressDenied),
        yes("tcp, protected", tcp(PRIVATE, 443), ProtectedRange),
        yes("tcp, the host", tcp("198.51.100.1", 443), AddressDenied),
        yes("tcp, ack", tcp(DENIED, 443).flags(0x10), AddressDenied),
        yes("tcp, no flags", tcp(DENIED, 443).flags(0), AddressDenied),
        yes("tcp, padded", tcp(DENIED, 443).trailer(6), AddressDenied),
        yes("tcp, priority in the header", tcp(DENIED, 443).network_bytes(1, &[0xff]), AddressDenied),
        yes("tcp, last hop", tcp(DENIED, 443).hops(1), AddressDenied),
        yes("udp, denied", udp(DENIED, 9), AddressDenied),
        yes("udp over ipv6, denied", udp(DENIED6, 9), AddressDenied),
        yes("udp, empty", udp(DENIED, 9).transport_length(8).transport_bytes(4, &[0, 8]), AddressDenied),
        yes("echo request", icmp(DENIED, 8, 0), AddressDenied),
        yes("echo request over ipv6", icmp(DENIED6, 128, 0), AddressDenied),
        yes("echo reply", icmp(DENIED, 0, 0), AddressDenied),
        yes("gre", ip(WEB, 47, &[0; 20]), Protocol),
        yes("sctp over ipv6", ip(DENIED6, 132, &[0; 20]), Protocol),
        yes("from another of its addresses", tcp(DENIED, 443).from("198.51.100.31"), AddressDenied),
        yes("an answer without a flow", tcp(PEER, 50_000).flags(0x12), ProtectedRange),
        row("any source", RejectingAny, tcp(DENIED, 443).from("192.0.7.7"), AddressDenied).answered(Yes),
    ]
}

fn never() -> Vec<Row> {
    let no = |name: &str, frame: Frame, reason| row(name, Rejecting, frame, reason).answered(No);
    let web = || tcp(DENIED, 443);
    vec![
        no("allowed", tcp(WEB, 443), AllowedByList),
        row("answer to a connection that came in", Rejecting, tcp(PEER, 50_000).flags(0x12), Answer)
            .known(flow(PEER, 50_000, 6), 0)
            .does(Touches(flow(PEER, 50_000, 6), 0)),
        row("onDeny: drop", Shut, web(), AddressDenied),
        row("onDeny: drop, udp", Shut, udp(DENIED, 9), AddressDenied),
        no("reset", web().flags(4), AddressDenied),
        no("reset and ack", web().flags(0x14), AddressDenied),
        no("reset over ipv6", tcp(DENIED6, 443).flags(4), AddressDenied),
        no("unreachable", icmp_error(DENIED, 3, 3, &udp(DENIED, 9).reversed()), AddressDenied),
        no("time exceeded", icmp_error(DENIED, 11, 0, &udp(DENIED, 9).reversed()), AddressDenied),
        no("parameter problem over ipv6", icmp_error(DENIED6, 4, 0, &udp(DENIED6, 9).reversed()), AddressDenied),
        no("unreachable that quotes nothing", icmp(DENIED, 3, 3), AddressDenied),
        no("time exceeded over ipv6 that quotes nothing", icmp(DENIED6, 3, 0), AddressDenied),
        no("unreachable about another protocol", icmp_error(DENIED, 3, 3, &ip(DENIED, 47, &[0; 8])), AddressDenied),
        no("first fragment of udp", udp(DENIED, 9).fragment(0, true), AddressDenied),
        no("later fragment of udp", udp(DENIED, 9).fragment(8, false), AddressDenied),
        no("atomic fragment of udp", udp(DENIED6, 9).fragment(0, false), AddressDenied),
        no("later fragment of udp over ipv6", udp(DENIED6, 9).fragment(8, false), AddressDenied),
        no("fragment of tcp", web().fragment(0, true), Fragment),
        no("options", web().options(&[1; 4]), AddressDenied),
        no("options, udp", udp(DENIED, 9).options(&[7, 7, 4, 0, 0, 0, 0]), AddressDenied),
        no("extension header", udp(DENIED6, 9).headers(&[(60, &[0, 1, 4, 0, 0, 0, 0])]), AddressDenied),
        no("source route", web().options(&[131, 7, 4, 10, 0, 0, 1]), SourceRoute),
        no("priority tag", web().tag(0x8100, 0), AddressDenied),
        no("vlan", web().tag(0x8100, 7), Vlan),
        no("malformed ip", web().claim(9), MalformedIp),
        no("malformed tcp", web().transport_bytes(12, &[0x40]), MalformedTransport),
        no("malformed udp", udp(DENIED, 9).transport_bytes(4, &[0, 99]), MalformedTransport),
        no("gre too short to be quoted", ip(WEB, 47, &[0; 7]), Protocol),
        no("gre too short to be quoted, padded", ip(WEB, 47, &[0; 7]).trailer(20), Protocol),
        no("sctp over ipv6 too short to be quoted", ip(DENIED6, 132, &[0; 4]), Protocol),
        no("spoofed source", web().from("192.0.7.7"), SourceAddress),
        no("spoofed source over ipv6", tcp(DENIED6, 443).from("2001:db8:b::2"), SourceAddress),
        no("spoofed source of another protocol", ip(DENIED, 47, &[0; 20]).from("192.0.7.7"), Protocol),
        no("another protocol from a group's mac", ip(DENIED, 47, &[0; 20]).link_from([3, 0, 0, 0, 0, 2]), Protocol),
        no("another protocol from the gateway's mac", ip(DENIED, 47, &[0; 20]).link_from(GATEWAY_MAC), Protocol),
        row("any source but a group", RejectingAny, ip(DENIED, 47, &[0; 20]).from("224.0.0.1"), Protocol),
        row("any source but nobody", RejectingAny, ip(DENIED, 47, &[0; 20]).from("0.0.0.0"), Protocol),
        no("a neighbour's mac", web().link_to(NEIGHBOUR_MAC), AddressDenied),
        no("allowed, a neighbour's mac", tcp(WEB, 443).link_to(NEIGHBOUR_MAC), DestinationMac),
        no("arp", arp(1, "198.51.100.2", "198.51.100.66"), Arp),
        no("another ethertype", other(0x88cc, &[0; 46]), Ethertype),
        no("timestamp request", icmp(DENIED, 13, 0), IcmpType),
        no("neighbour solicitation", icmp("ff02::1:ff00:9", 135, 0).hops(255), Neighbour),
        no("dhcp", udp("255.255.255.255", 67).transport_bytes(0, &[0, 68]), Dhcp),
        row("ended", Ended, web(), Sealed),
        towards("towards the sandbox", Rejecting, tcp_from(DENIED, 443, 2), InboundDenied),
    ]
}

fn groups() -> Vec<Row> {
    let no = |name: &str, frame: Frame| row(name, Rejecting, frame, ProtectedRange).answered(No);
    let everybody = |name: &str, frame: Frame| row(name, Rejecting, frame, AddressDenied).answered(No);
    vec![
        no("broadcast", udp("255.255.255.255", 9).link_to([0xff; 6])),
        no("broadcast by the gateway's mac", udp("255.255.255.255", 9)),
        no("all systems", udp("224.0.0.1", 9)),
        no("multicast dns", udp("224.0.0.251", 5353).link_to([1, 0, 0x5e, 0, 0, 0xfb])),
        no("tcp to a group", tcp("239.1.2.3", 443)),
        no("reserved", tcp("240.0.0.1", 443)),
        no("multicast dns over ipv6", udp("ff02::fb", 5353).link_to([0x33, 0x33, 0, 0, 0, 0xfb])),
        no("tcp to an ipv6 group", tcp("ff0e::1", 443)),
        everybody("everybody's mac", udp(DENIED, 9).link_to([0xff; 6])),
        everybody("everybody's mac, tcp", tcp(DENIED, 443).link_to([0xff; 6])),
        everybody("a group's mac", udp(DENIED, 9).link_to([1, 0, 0x5e, 0, 0, 1])),
        everybody("a group's mac, ipv6", udp(DENIED6, 9).link_to([0x33, 0x33, 0, 0, 0, 1])),
    ]
}

fn limits() -> Vec<Row> {
    vec![
        row("no rate", RejectingNone, tcp(DENIED, 443), AddressDenied).answered(Suppressed),
        row("no rate, udp over ipv6", RejectingNone, udp(DENIED6, 9), AddressDenied).answered(Suppressed),
        row("no rate, reset", RejectingNone, tcp(DENIED, 443).flags(4), AddressDenied),
        row("no rate, spoofed", RejectingNone, tcp(DENIED, 443).from("192.0.7.7"), SourceAddress),
    ]
}
