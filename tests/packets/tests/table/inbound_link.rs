//! Packets about the link, towards the sandbox: the gateway's ARP and neighbour discovery, and DHCP where it is switched on.

use filter_core::Reason::*;
use std::net::Ipv6Addr;
use test_packets::Profile::*;
use test_packets::{Frame, GATEWAY_MAC, Row, SANDBOX_MAC, Told, arp, icmp, icmp_error, ip, towards, udp};

const OWN: &str = "198.51.100.2";
const GATEWAY: &str = "198.51.100.1";
const NEIGHBOUR: &str = "198.51.100.66";
const OWN6: &str = "2001:db8:a::2";
const OWN_LINK: &str = "fe80::ff:fe00:2";
const GATEWAY6: &str = "2001:db8:a::1";
const GATEWAY_LINK: &str = "fe80::ff:fe00:1";
const NEIGHBOUR6: &str = "2001:db8:b::2";
/// Where the sandbox may send.
const WEB: &str = "203.0.113.10";
const WEB6: &str = "2001:db8:10::10";
const ALL_NODES: &str = "ff02::1";
const NEIGHBOUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

pub(super) fn rows() -> Vec<Row> {
    [arps(), neighbours(), routers(), dhcp()].concat()
}

fn denied(name: &str, frame: Frame) -> Row {
    towards(name, Free, frame, InboundDenied).unasked()
}

fn arps() -> Vec<Row> {
    let ask = || from_gateway(1, GATEWAY, OWN);
    let answer = || from_gateway(2, GATEWAY, OWN);
    vec![
        towards("gateway asks everybody for it", Free, ask(), GatewayArp),
        towards("gateway asks it", Free, ask().link_to(SANDBOX_MAC), GatewayArp),
        towards(
            "gateway asks for another of its addresses",
            Free,
            from_gateway(1, GATEWAY, "198.51.100.31"),
            GatewayArp,
        ),
        towards("gateway answers", Free, answer(), GatewayArp),
        towards("gateway announces itself", Free, from_gateway(1, GATEWAY, GATEWAY), GatewayArp),
        towards("gateway probes for its own address", Free, from_gateway(1, "0.0.0.0", GATEWAY), GatewayArp),
        towards("gateway probes for the sandbox's address", Free, from_gateway(1, "0.0.0.0", OWN), GatewayArp),
        towards("gateway asks, though all is denied", Shut, ask(), GatewayArp),
        towards("gateway asks, though the policy is lost", Orphaned, ask(), GatewayArp),
        towards("gateway asks, though it has ended", Ended, ask(), SealedNeighbour),
        towards("gateway answers, though it has ended", Ended, answer(), SealedNeighbour),
        towards("neighbour asks, though it has ended", Ended, neighbour_arp(1, NEIGHBOUR, OWN), Sealed)
            .told(Told::Link),
        towards(
            "gateway asks for a neighbour of one that has ended",
            Ended,
            from_gateway(1, GATEWAY, NEIGHBOUR),
            Sealed,
        ),
        towards("gateway asks, any address", AnySource, from_gateway(1, GATEWAY, "203.0.113.77"), GatewayArp),
        denied("gateway asks for a neighbour", from_gateway(1, GATEWAY, NEIGHBOUR)),
        denied("gateway answers a neighbour", from_gateway(2, GATEWAY, NEIGHBOUR)),
        denied("gateway probes for a neighbour's address", from_gateway(1, "0.0.0.0", NEIGHBOUR)),
        denied("neighbour's address by the gateway's mac", from_gateway(2, NEIGHBOUR, OWN)),
        denied("sandbox's own address by the gateway's mac", from_gateway(2, OWN, OWN)),
        denied("another's mac in the gateway's answer", answer().network_bytes(8, &NEIGHBOUR_MAC)),
        denied("gateway's reverse request", from_gateway(3, GATEWAY, OWN)),
        denied("gateway's operation 0", from_gateway(0, GATEWAY, OWN)),
        denied("gateway answers a probe's way", from_gateway(2, "0.0.0.0", OWN)),
        denied("neighbour asks for it", neighbour_arp(1, NEIGHBOUR, OWN)).told(Told::Link),
        denied("neighbour answers as the gateway", neighbour_arp(2, GATEWAY, OWN)).told(Told::Link),
        denied("gateway's arp of the wrong hardware", ask().network_bytes(0, &[0, 6])).told(Told::Link),
        denied("gateway's arp missing a byte", ask().cut(41)).told(Told::Link),
    ]
}

fn neighbours() -> Vec<Row> {
    let ask = || nd(135, OWN6, OWN6, 1);
    let answer = || nd(136, OWN6, GATEWAY6, 2);
    vec![
        towards("gateway solicits it", Free, ask(), GatewayNeighbour),
        towards("gateway solicits its group", Free, nd(135, "ff02::1:ff00:2", OWN6, 1), GatewayNeighbour),
        towards("gateway solicits from its link-local address", Free, ask().from(GATEWAY_LINK), GatewayNeighbour),
        towards("gateway solicits its link-local address", Free, nd(135, OWN_LINK, OWN_LINK, 1), GatewayNeighbour),
        towards("gateway solicits, though all is denied", Shut, ask(), GatewayNeighbour),
        towards("gateway solicits, though it has ended", Ended, ask(), SealedNeighbour),
        towards(
            "neighbour solicits, though it has ended",
            Ended,
            ask().from(NEIGHBOUR6).link_from(NEIGHBOUR_MAC),
            Sealed,
        ),
        towards("gateway advertises", Free, answer(), GatewayNeighbour),
        towards("gateway advertises as a router", Free, answer().transport_bytes(4, &[0xe0]), GatewayNeighbour),
        towards("gateway advertises to all nodes", Free, nd(136, ALL_NODES, GATEWAY6, 2), GatewayNeighbour),
        towards(
            "gateway advertises its link-local address",
            Free,
            nd(136, OWN_LINK, GATEWAY_LINK, 2).from(GATEWAY_LINK),
            GatewayNeighbour,
        ),
        towards(
            "gateway detects a duplicate of itself",
            Free,
            nd(135, "ff02::1:ff00:1", GATEWAY6, 1).transport_length(24).from("::"),
            GatewayNeighbour,
        ),
        denied("gateway solicits a neighbour", nd(135, NEIGHBOUR6, NEIGHBOUR6, 1)),
        denied("gateway solicits its ipv4 address", nd(135, OWN6, "::ffff:198.51.100.2", 1)),
        denied("gateway advertises its ipv4 address", nd(136, OWN6, "::ffff:198.51.100.1", 2)),
        denied("gateway solicits from afar", ask().hops(254)),
        denied("gateway solicits with code 1", ask().transport_bytes(1, &[1])),
        denied("gateway solicits with a neighbour's mac in it", ask().transport_bytes(26, &NEIGHBOUR_MAC)),
        denied("gateway solicits in an atomic fragment", ask().fragment(0, false)),
        denied("gateway solicits nothing", ask().transport_length(23)),
        denied("neighbour solicits it", ask().from(NEIGHBOUR6)),
        denied("neighbour's mac solicits it", ask().link_from(NEIGHBOUR_MAC)),
        denied("neighbour advertises itself", nd(136, OWN6, NEIGHBOUR6, 2).from(NEIGHBOUR6)),
        denied("gateway advertises a neighbour", nd(136, OWN6, NEIGHBOUR6, 2)),
        denied("gateway advertises the sandbox", nd(136, OWN6, OWN6, 2)),
        denied("neighbour's mac advertises the gateway", answer().link_from(NEIGHBOUR_MAC)),
        denied("redirect", nd(137, OWN6, GATEWAY6, 2)),
        denied("router solicitation", nd(133, OWN6, GATEWAY6, 1)),
        denied("listener query", icmp(ALL_NODES, 130, 0).from(GATEWAY_LINK).link_from(GATEWAY_MAC)),
    ]
}

fn routers() -> Vec<Row> {
    let advertise = || nd(134, ALL_NODES, GATEWAY6, 1).from(GATEWAY_LINK);
    let refused = |name: &str, frame| towards(name, WithDhcp, frame, InboundDenied).unasked();
    vec![
        towards("router advertisement, switched on", WithDhcp, advertise(), GatewayDhcp),
        towards("router advertisement from a global address", WithDhcp, advertise().from(GATEWAY6), GatewayDhcp),
        denied("router advertisement, switched off", advertise()),
        refused("router advertisement with code 1", advertise().transport_bytes(1, &[1])),
        refused("router advertisement in an atomic fragment", advertise().fragment(0, false)),
        refused("router advertisement from afar", advertise().hops(64)),
        refused("router advertisement from a neighbour", advertise().from("fe80::9")),
        refused("router advertisement by a neighbour's mac", advertise().link_from(NEIGHBOUR_MAC)),
        refused("redirect, dhcp on", nd(137, OWN6, GATEWAY6, 2)),
        refused("ipv4 router advertisement by the gateway", icmp(GATEWAY, 9, 0).reversed()),
        refused("ipv4 router solicitation by the gateway", icmp(GATEWAY, 10, 0).reversed()),
        refused("ipv4 redirect by the gateway", icmp_error(GATEWAY, 5, 1, &udp(WEB, 9)).reversed()),
        denied("ipv4 redirect by a peer of its own", icmp_error(WEB, 5, 1, &udp(WEB, 9)).reversed()),
        denied("ipv4 redirect in a first fragment", icmp(WEB, 5, 1).reversed().fragment(0, true)),
        denied("ipv4 router advertisement by a peer", icmp(WEB, 9, 0).reversed()),
        denied("ipv4 redirect with the own mark", icmp(WEB, 5, 0).reversed()).mark(0x50),
        denied("ipv6 redirect by a peer", icmp(WEB6, 137, 0).reversed()),
        denied("ipv6 redirect with the own mark", icmp(WEB6, 137, 0).reversed()).mark(0x50),
    ]
}

fn dhcp() -> Vec<Row> {
    let offer = || service("255.255.255.255", 67, 68).from(GATEWAY).link_to([0xff; 6]);
    let advertise = || service(OWN_LINK, 547, 546).from(GATEWAY_LINK);
    let refused = |name: &str, frame| towards(name, WithDhcp, frame, InboundDenied).unasked();
    vec![
        towards("dhcp offer by broadcast", WithDhcp, offer(), GatewayDhcp),
        towards("dhcp offer to its address", WithDhcp, offer().to(OWN).link_to(SANDBOX_MAC), GatewayDhcp),
        towards("dhcp advertise", WithDhcp, advertise(), GatewayDhcp),
        denied("dhcp offer, switched off", offer()),
        denied("dhcp advertise, switched off", advertise()),
        refused("dhcp offer by a neighbour's mac", offer().link_from(NEIGHBOUR_MAC)),
        refused("dhcp offer of a neighbour", offer().from(NEIGHBOUR)),
        refused("dhcp offer of a far address", offer().from("203.0.113.10").to(OWN)),
        refused("dhcp advertise of a neighbour", advertise().from("fe80::9")),
        refused("dhcp offer in a fragment", offer().fragment(0, true)),
        towards("dhcp question", WithDhcp, service(OWN, 68, 67).from(GATEWAY), InboundDenied),
    ]
}

/// ARP from the gateway.
fn from_gateway(operation: u16, sender: &str, target: &str) -> Frame {
    let frame = arp(operation, sender, target).network_bytes(8, &GATEWAY_MAC).link_from(GATEWAY_MAC);
    if operation == 1 { frame } else { frame.link_to(SANDBOX_MAC) }
}

fn neighbour_arp(operation: u16, sender: &str, target: &str) -> Frame {
    from_gateway(operation, sender, target).network_bytes(8, &NEIGHBOUR_MAC).link_from(NEIGHBOUR_MAC)
}

/// Neighbour discovery from the gateway, about `target`, with one option that holds its link-layer address.
fn nd(kind: u8, to: &str, target: &str, holds: u8) -> Frame {
    let target = target.parse::<Ipv6Addr>().expect("an IPv6 address").octets();
    let body = [[kind, 0, 0, 0, 0, 0, 0, 0].as_slice(), &target, &[holds, 1], &GATEWAY_MAC].concat();
    ip(to, 58, &body).hops(255).from(GATEWAY6).link_from(GATEWAY_MAC).link_to(SANDBOX_MAC)
}

/// UDP from the gateway's MAC address.
fn service(to: &str, source_port: u16, port: u16) -> Frame {
    udp(to, port).transport_bytes(0, &source_port.to_be_bytes()).link_from(GATEWAY_MAC).link_to(SANDBOX_MAC)
}
