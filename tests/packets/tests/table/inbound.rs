//! Packets towards the sandbox: answers by the lists, and packets of the filter's own sockets.

use filter_core::Reason::*;
use filter_core::abi::{FlowKey, FlowState};
use test_packets::Effect::{Closes, Opens, Touches};
use test_packets::Profile::*;
use test_packets::{
    Frame, GATEWAY_MAC, Row, SANDBOX_MAC, SANDBOX4, SANDBOX6, Told, icmp, ip, other, tcp, towards, udp,
};

const WEB: &str = "203.0.113.10";
const WEB6: &str = "2001:db8:10::10";
const HOST: &str = "192.0.2.1";
const HOST6: &str = "2001:db8:77::1";
const NEIGHBOUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
const RST: u8 = 4;
const MARKED: u32 = FlowState::MARKED;
const OWN: u32 = 0x50;

pub(super) fn rows() -> Vec<Row> {
    [lists(), living(), marks(), marked_flows(), headers(), addresses(), sealed()].concat()
}

/// The flow that `peer` has opened to port 40,000 of the sandbox; for an echo, `port` is the identifier.
pub(super) fn flow(peer: &str, port: u16, protocol: u8) -> FlowKey {
    let peer = peer.parse::<std::net::IpAddr>().expect("an address");
    let local = if peer.is_ipv4() { SANDBOX4.into() } else { std::net::IpAddr::from(SANDBOX6) };
    let local_port = if matches!(protocol, 6 | 17) { 40_000 } else { 0 };
    FlowKey { peer: peer.into(), local: local.into(), peer_port: port, local_port, protocol, ..FlowKey::default() }
}

/// TCP from a port of `source` to port 40,000 of the sandbox.
pub(super) fn tcp_from(source: &str, port: u16, flags: u8) -> Frame {
    tcp(source, port).flags(flags).reversed()
}

/// UDP from a port of `source` to port 40,000 of the sandbox.
pub(super) fn udp_from(source: &str, port: u16) -> Frame {
    udp(source, port).reversed()
}

/// ICMP from `source` to the sandbox, with identifier 1.
pub(super) fn icmp_from(source: &str, kind: u8, code: u8) -> Frame {
    icmp(source, kind, code).reversed()
}

fn lists() -> Vec<Row> {
    let answer = |source: &str| tcp_from(source, 443, SYN_ACK);
    let to_53 = |source: &str| udp(source, 9).transport_bytes(0, &[0, 53]).reversed();
    vec![
        towards("no lists", Free, answer(WEB), AllowedByDefault),
        towards("no lists, ipv6", Free, answer(WEB6), AllowedByDefault),
        towards("allowed", Inviting, answer(WEB), AllowedByList),
        towards("allowed, ipv6", Inviting, answer(WEB6), AllowedByList),
        towards("allowed, udp", Inviting, udp_from(WEB, 9), AllowedByList),
        towards("allowed, echo reply", Inviting, icmp_from(WEB, 0, 0), AllowedByList),
        towards("allowed, echo reply over ipv6", Inviting, icmp_from(WEB6, 129, 0), AllowedByList),
        towards("allowed, opens a connection but no flow", Inviting, tcp_from(WEB, 443, 2), AllowedByList),
        towards("allowed, last of a /24", Inviting, answer("203.0.113.255"), AllowedByList),
        towards("after an allowed /24", Inviting, answer("203.0.114.0"), InboundDenied),
        towards("denied", Shut, answer(WEB), InboundDenied),
        towards("denied, ipv6", Shut, answer(WEB6), InboundDenied),
        towards("denied, udp", Shut, udp_from(WEB, 9), InboundDenied),
        towards("denied, echo reply", Shut, icmp_from(WEB, 0, 0), InboundDenied),
        towards("allow beats deny", Nested, answer("8.8.8.8"), AllowedByList),
        towards("allowed /32 in a denied /24", Nested, answer("9.9.9.9"), AllowedByList),
        towards("private", Free, answer("10.1.2.3"), InboundDenied),
        towards("private that the user allows", Listed, answer("10.1.2.3"), InboundDenied),
        towards("metadata service that the user allows", Listed, answer("169.254.169.254"), InboundDenied),
        towards("private ipv6 that the user allows", Listed, answer("fd00::1"), InboundDenied),
        towards("opened by the operator", Opened, answer("10.2.3.4"), AllowedByDefault),
        towards("nat64", Free, answer("64:ff9b::203.0.113.10"), AllowedByDefault),
        towards("nat64 of a private address", Free, answer("64:ff9b::10.0.0.1"), InboundDenied),
        towards("nameserver's port 53", Named, udp_from("8.8.8.8", 53), AllowedNameserver),
        towards("nameserver's port 53 by tcp", Named, tcp_from("8.8.8.8", 53, SYN_ACK), AllowedNameserver),
        towards("nameserver's port 53 over ipv6", Named, udp_from("2001:4860:4860::8888", 53), AllowedNameserver),
        towards("private nameserver's port 53", Named, udp_from("10.0.0.53", 53), AllowedNameserver),
        towards("nameserver's port 54", Named, udp_from("8.8.8.8", 54), InboundDenied),
        towards("nameserver, towards port 53", Named, to_53("8.8.8.8"), InboundDenied),
        towards("nameserver, echo reply", Named, icmp_from("8.8.8.8", 0, 0), InboundDenied),
        towards("another resolver's port 53", Named, udp_from("8.8.4.4", 53), InboundDenied),
        towards("captured on the way out", Proxied, answer(WEB), AllowedByDefault),
        towards("policy lost", Orphaned, answer(WEB), InboundDenied).unasked(),
        towards("later fragment, allowed", Inviting, udp_from(WEB, 9).fragment(8, false), AllowedByList),
        towards("later fragment, denied", Shut, udp_from(WEB, 9).fragment(8, false), InboundDenied),
    ]
}

fn living() -> Vec<Row> {
    let from = |source: &str| udp_from(source, 9);
    vec![
        towards("the host", Wide, from(HOST), InboundDenied),
        towards("the host over ipv6", Wide, from(HOST6), InboundDenied),
        towards("the gateway", Free, from("198.51.100.1"), InboundDenied),
        towards("the gateway over ipv6", Free, from("2001:db8:a::1"), InboundDenied),
        towards("a network of the host", Wide, from("192.0.2.200"), InboundDenied),
        towards("another sandbox", Wide, from("198.51.100.66"), InboundDenied),
        towards("another sandbox by echo request", Wide, icmp_from("198.51.100.66", 8, 0), InboundDenied),
        towards("another sandbox over ipv6", Wide, from("2001:db8:b::2"), InboundDenied),
        towards("itself", Free, from("198.51.100.2"), InboundDenied),
        towards("opened, a sandbox", Opened, from("10.9.9.9"), InboundDenied),
        towards("opened, the host", Opened, from("10.0.0.1"), AllowedByDefault),
    ]
}

fn marks() -> Vec<Row> {
    let ack = || tcp_from(HOST, 443, ACK);
    let marked = |name, frame: Frame, mark| towards(name, Shut, frame, OwnSocket).mark(mark).unasked();
    let foreign = |name, mark| towards(name, Shut, ack(), InboundDenied).mark(mark);
    vec![
        marked("own mark", ack(), OWN),
        marked("own mark, ipv6", tcp_from(HOST6, 443, ACK), OWN),
        marked("own mark among others' bits", ack(), 0xabcd_ef5f),
        marked("own mark, another sandbox's address", tcp_from("198.51.100.66", 443, ACK), OWN),
        marked("own mark, reset", tcp_from(HOST, 443, RST), OWN),
        marked("own mark, syn and ack", tcp_from(HOST, 443, SYN_ACK), OWN),
        marked("own mark, error", icmp_from(HOST, 3, 13), OWN),
        marked("own mark, error over ipv6", icmp_from(HOST6, 1, 1), OWN),
        marked("own mark, echo reply", icmp_from(HOST, 0, 0), OWN),
        marked("own mark, later fragment", udp_from(HOST, 9).fragment(8, false), OWN),
        foreign("no mark", 0),
        foreign("one of the filter's bits missing", 0x40),
        foreign("one of the filter's bits too many", 0x70),
        foreign("a foreign mark", 0xa0),
        foreign("others' bits alone", 0xffff_ff0f),
        towards("no mark of its own, unmarked packet", Unmarked, ack(), InboundDenied),
        towards("no mark of its own, marked packet", Unmarked, ack(), InboundDenied).mark(OWN),
        towards("own mark, policy lost", Orphaned, ack(), OwnSocket).mark(OWN).unasked(),
        towards("own mark, another's address", Shut, ack().to("198.51.100.66"), InboundDenied).mark(OWN).unasked(),
        towards("own mark, another's mac", Shut, ack().link_from(NEIGHBOUR_MAC), InboundDenied).mark(OWN).unasked(),
        towards("own mark, malformed", Shut, ack().claim(9), MalformedIp).mark(OWN),
        towards("own mark, arp of a neighbour", Shut, other(0x0806, &[0; 28]).link_from(NEIGHBOUR_MAC), InboundDenied)
            .mark(OWN)
            .unasked()
            .told(Told::Link),
    ]
}

fn marked_flows() -> Vec<Row> {
    let key = flow(HOST, 443, 6);
    let marked = |name, frame| towards(name, Shut, frame, OwnSocket).mark(OWN).unasked();
    let syn = || tcp_from(HOST, 443, 2);
    vec![
        marked("own mark, syn", syn()).does(Opens(key, MARKED)),
        marked("own mark, syn over ipv6", tcp_from(HOST6, 443, 2)).does(Opens(flow(HOST6, 443, 6), MARKED)),
        marked("own mark, udp", udp_from(HOST, 9)).does(Opens(flow(HOST, 9, 17), MARKED)),
        marked("own mark, echo request", icmp_from(HOST, 8, 0)).does(Opens(flow(HOST, 1, 1), MARKED)),
        marked("own mark, echo request over ipv6", icmp_from(HOST6, 128, 0)).does(Opens(flow(HOST6, 1, 58), MARKED)),
        marked("own mark, ack of its flow", tcp_from(HOST, 443, ACK)).known(key, MARKED).does(Touches(key, MARKED)),
        marked("own mark, fin of its flow", tcp_from(HOST, 443, ACK | 1))
            .known(key, MARKED)
            .does(Touches(key, MARKED | FlowState::PEER_FIN)),
        marked("own mark, last fin of its flow", tcp_from(HOST, 443, ACK | 1))
            .known(key, MARKED | FlowState::SANDBOX_FIN)
            .does(Touches(key, MARKED | FlowState::CLOSED)),
        marked("own mark, reset of its flow", tcp_from(HOST, 443, RST)).known(key, MARKED).does(Closes(key)),
        marked("own mark, syn of a flow that is closed", syn())
            .known(key, MARKED | FlowState::CLOSED)
            .does(Opens(key, MARKED)),
        marked("own mark, udp of a flow that somebody else opened", udp_from("10.7.0.9", 9))
            .known(flow("10.7.0.9", 9, 17), 0)
            .does(Touches(flow("10.7.0.9", 9, 17), 0)),
        towards("its flow, without the mark", Shut, tcp_from(HOST, 443, ACK), InboundDenied).known(key, MARKED),
    ]
}

fn headers() -> Vec<Row> {
    let web = || tcp_from(WEB, 443, SYN_ACK);
    vec![
        towards("length that contradicts the frame", Free, web().claim(9), MalformedIp),
        towards("truncated tcp", Free, web().transport_length(19), MalformedTransport),
        towards("fragment of tcp", Free, web().fragment(0, true), Fragment),
        towards("source route", Free, web().options(&[131, 7, 4, 10, 0, 0, 1]), SourceRoute),
        towards("routing header", Free, udp_from(WEB6, 9).headers(&[(43, &[0, 0, 1, 0, 0, 0, 0])]), SourceRoute)
            .stopped_at(43),
        towards("vlan", Free, web().tag(0x8100, 7), Vlan),
        towards("priority tag", Free, web().tag(0x8100, 0), AllowedByDefault),
        towards("lldp", Free, other(0x88cc, &[0; 46]).link_from(GATEWAY_MAC), Ethertype),
        towards("gre", Free, ip(WEB, 47, &[0; 20]).reversed(), Protocol),
        towards("group query", Free, ip(WEB, 2, &[0x11, 0, 0, 0, 0, 0, 0, 0]).reversed(), GroupMembership),
        towards("mapped address", Free, udp_from("::ffff:203.0.113.10", 9), MappedAddress),
    ]
}

fn addresses() -> Vec<Row> {
    let web = || udp_from(WEB, 9);
    let elsewhere = |name, frame| towards(name, Free, frame, InboundDenied).unasked();
    vec![
        towards("another of its addresses", Free, web().to("198.51.100.20"), AllowedByDefault),
        towards("any address", AnySource, web().to("192.0.7.7"), AllowedByDefault),
        elsewhere("another's address", web().to("198.51.100.66")),
        elsewhere("one beyond its own", web().to("198.51.100.32")),
        elsewhere("the gateway's address", web().to("198.51.100.1")),
        elsewhere("another's ipv6 address", udp_from(WEB6, 9).to("2001:db8:a::3")),
        elsewhere("its link-local address", udp_from(WEB6, 9).to("fe80::ff:fe00:2")),
        elsewhere("broadcast", web().to("255.255.255.255").link_to([0xff; 6])),
        elsewhere("all systems", web().to("224.0.0.1").link_to([1, 0, 0x5e, 0, 0, 1])),
        elsewhere("multicast dns", udp_from(WEB, 5353).to("224.0.0.251").link_to([1, 0, 0x5e, 0, 0, 0xfb])),
        elsewhere("all nodes", udp_from(WEB6, 9).to("ff02::1").link_to([0x33, 0x33, 0, 0, 0, 1])),
        elsewhere("a neighbour's mac", web().link_from(NEIGHBOUR_MAC)),
        elsewhere("a neighbour's mac, ipv6", udp_from(WEB6, 9).link_from(NEIGHBOUR_MAC)),
        elsewhere("its own mac", web().link_from(SANDBOX_MAC)),
        elsewhere("a mac that differs from the gateway's in a bit", web().link_from([3, 0, 0, 0, 0, 1])),
        towards("to everybody's mac", Free, web().link_to([0xff; 6]), AllowedByDefault),
    ]
}

fn sealed() -> Vec<Row> {
    vec![
        towards("ended, an answer", Ended, tcp_from(WEB, 443, SYN_ACK), Sealed),
        towards("ended, own mark", Ended, tcp_from(HOST, 443, 2), Sealed).mark(OWN),
        towards("ended, arp", Ended, other(0x0806, &[0; 28]).link_from(GATEWAY_MAC), Sealed).told(Told::Link),
        towards("ended, packet of a flow", Ended, tcp_from(HOST, 443, ACK), Sealed)
            .mark(OWN)
            .known(flow(HOST, 443, 6), MARKED),
        towards("ended, neighbour solicitation", Ended, icmp("2001:db8:a::1", 135, 0).hops(255).reversed(), Sealed),
    ]
}
