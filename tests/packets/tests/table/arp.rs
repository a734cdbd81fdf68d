//! ARP with the gateway, and everything else that ARP can be misused for.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{GATEWAY_MAC, Row, Told, arp, row};

const OWN: &str = "198.51.100.2";
const GATEWAY: &str = "198.51.100.1";

pub(super) fn rows() -> Vec<Row> {
    let ask = || arp(1, OWN, GATEWAY);
    vec![
        row("asks everybody for the gateway", Free, ask(), GatewayArp),
        row("asks the gateway itself", Free, ask().link_to(GATEWAY_MAC), GatewayArp),
        row("asks from another of its addresses", Free, arp(1, "198.51.100.31", GATEWAY), GatewayArp),
        row("answers the gateway", Free, arp(2, OWN, GATEWAY), GatewayArp),
        row("announces itself by a question", Free, arp(1, OWN, OWN), GatewayArp),
        row("announces itself by an answer", Free, arp(2, OWN, OWN), GatewayArp),
        row("probes for its address", Free, arp(1, "0.0.0.0", OWN), GatewayArp),
        row("padded to 60 bytes", Free, ask().trailer(18), GatewayArp),
        row("with a tag, padded to 60 bytes", Free, ask().tag(0x8100, 0).trailer(14), GatewayArp),
        row("with a tag, padded to 64 bytes", Free, ask().tag(0x8100, 0).trailer(18), GatewayArp),
        row("announces itself, padded to 60 bytes", Free, arp(2, OWN, OWN).trailer(18), GatewayArp),
        row("padded with a word at the start", Free, ask().trailer(18).trailer_bytes(0, &[1]), Arp),
        row("padded with a word at the end", Free, ask().trailer(18).trailer_bytes(17, &[1]), Arp),
        row("padded with a word in the middle", Free, ask().trailer(18).trailer_bytes(13, &[1]), Arp),
        row("padded with a word behind a tag", Free, ask().tag(0x8100, 0).trailer(14).trailer_bytes(10, &[1]), Arp),
        row("one byte too long", Free, ask().trailer(1), Arp),
        row("padded to 61 bytes", Free, ask().trailer(19), Arp),
        row("padded to 64 bytes without a tag", Free, ask().trailer(22), Arp),
        row("with a kilobyte behind", Free, ask().trailer(1_000), Arp),
        row(
            "to the gateway, with something behind",
            Free,
            ask().link_to(GATEWAY_MAC).trailer(4).trailer_bytes(0, b"hide"),
            Arp,
        ),
        row("though all is denied", Shut, ask(), GatewayArp),
        row("though the policy is lost", Orphaned, ask(), GatewayArp),
        row("from any source", AnySource, arp(1, "203.0.113.77", GATEWAY), GatewayArp),
        row("as the gateway, from any source", AnySource, arp(2, GATEWAY, GATEWAY), Arp),
        row("asks for a neighbour", Free, arp(1, OWN, "198.51.100.66"), Arp),
        row("asks for a far address", Free, arp(1, OWN, "8.8.8.8"), Arp),
        row("speaks as the gateway", Free, arp(2, GATEWAY, GATEWAY), Arp),
        row("speaks as the gateway to the gateway", Free, arp(2, GATEWAY, OWN), Arp),
        row("speaks as a neighbour", Free, arp(2, "198.51.100.66", GATEWAY), Arp),
        row("speaks for one address beyond its own", Free, arp(1, "198.51.100.32", GATEWAY), Arp),
        row("probes for the gateway's address", Free, arp(1, "0.0.0.0", GATEWAY), Arp),
        row("probes for a neighbour's address", Free, arp(1, "0.0.0.0", "198.51.100.66"), Arp),
        row("answers a probe's way", Free, arp(2, "0.0.0.0", OWN), Arp),
        row("hardware address of the gateway in it", Free, ask().network_bytes(8, &GATEWAY_MAC), Arp),
        row("to a neighbour's mac", Free, ask().link_to([2, 0, 0, 0, 0, 9]), Arp),
        row("to a group's mac", Free, ask().link_to([0x33, 0x33, 0, 0, 0, 1]), Arp),
        row("of the wrong hardware", Free, ask().network_bytes(0, &[0, 6]), Arp).told(Told::Link),
        row("of the wrong protocol", Free, ask().network_bytes(2, &[0x86, 0xdd]), Arp).told(Told::Link),
        row("hardware address of eight bytes", Free, ask().network_bytes(4, &[8]), Arp).told(Told::Link),
        row("protocol address of sixteen bytes", Free, ask().network_bytes(5, &[16]), Arp).told(Told::Link),
        row("operation 0", Free, arp(0, OWN, GATEWAY).link_to(GATEWAY_MAC), Arp),
        row("reverse request", Free, arp(3, OWN, GATEWAY), Arp),
        row("inverse request", Free, arp(8, OWN, GATEWAY), Arp),
        row("missing a byte", Free, ask().cut(41), Arp).told(Told::Link),
        row("empty", Free, ask().cut(15), Arp).told(Told::Link),
        row("from a group's mac", Free, ask().link_from([3, 0, 0, 0, 0, 2]), SourceMac).told(Told::Link),
    ]
}
