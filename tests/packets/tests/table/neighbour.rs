//! IPv6 neighbour discovery with the gateway (RFC 4861), and everything else that it can be misused for.

use filter_core::Reason::*;
use std::net::Ipv6Addr;
use test_packets::Profile::*;
use test_packets::{Frame, GATEWAY_MAC, Row, SANDBOX_LINK, SANDBOX_MAC, Told, ip, row};

const OWN: &str = "2001:db8:a::2";
const GATEWAY: &str = "2001:db8:a::1";
const GATEWAY_LINK: &str = "fe80::ff:fe00:1";
const NEIGHBOUR: &str = "2001:db8:b::2";
const ALL_NODES: &str = "ff02::1";
const ALL_ROUTERS: &str = "ff02::2";

// Option kinds.
const SOURCE: u8 = 1;
const TARGET: u8 = 2;
const NONCE: u8 = 14;

pub(super) fn rows() -> Vec<Row> {
    [solicitations(), advertisements(), routers()].concat()
}

fn solicitations() -> Vec<Row> {
    let ask = || solicit(GATEWAY, OWN);
    let detect = || plain(135, &group(OWN), OWN).from("::");
    vec![
        row("asks for the gateway", Free, ask(), GatewayNeighbour),
        row("asks for the gateway's link-local address", Free, solicit(GATEWAY_LINK, OWN), GatewayNeighbour),
        row("asks from its link-local address", Free, solicit(GATEWAY, &SANDBOX_LINK.to_string()), GatewayNeighbour),
        row(
            "asks the gateway itself",
            Free,
            with(135, GATEWAY, GATEWAY, SOURCE).link_to(GATEWAY_MAC),
            GatewayNeighbour,
        ),
        row("asks for the gateway's ipv4 address", Free, solicit("::ffff:198.51.100.1", OWN), Neighbour),
        row("asks without its link-layer address", Free, plain(135, &group(GATEWAY), GATEWAY), GatewayNeighbour),
        row("though all is denied", Shut, ask(), GatewayNeighbour),
        row("though the policy is lost", Orphaned, ask(), GatewayNeighbour),
        row("detects a duplicate", Free, detect(), GatewayNeighbour),
        row("detects a duplicate of its link-local address", Free, detect_link_local(), GatewayNeighbour),
        row("detects a duplicate with a nonce", Free, option(detect(), NONCE, SANDBOX_MAC), GatewayNeighbour),
        row("detects a duplicate of a neighbour", Free, plain(135, &group(NEIGHBOUR), NEIGHBOUR).from("::"), Neighbour),
        row("detects a duplicate of the gateway", Free, plain(135, &group(GATEWAY), GATEWAY).from("::"), Neighbour),
        row("detects a duplicate at all nodes", Free, plain(135, ALL_NODES, OWN).from("::"), Neighbour),
        row("asks in an atomic fragment", Free, ask().fragment(0, false), Neighbour),
        row("asks for a neighbour", Free, solicit(NEIGHBOUR, OWN), Neighbour),
        row("asks another group", Free, with(135, &group(NEIGHBOUR), GATEWAY, SOURCE), Neighbour),
        row("asks as a neighbour", Free, solicit(GATEWAY, NEIGHBOUR), Neighbour),
        row("asks as the gateway", Free, solicit(GATEWAY, GATEWAY_LINK), Neighbour),
        row("was forwarded", Free, ask().hops(254), Neighbour),
        row("asks with code 1", Free, ask().transport_bytes(1, &[1]), Neighbour),
        row("asks with the gateway's link-layer address", Free, ask().transport_bytes(26, &GATEWAY_MAC), Neighbour),
        row("asks with a target's link-layer address", Free, ask().transport_bytes(24, &[TARGET]), Neighbour),
        row("asks with an option of length 0", Free, ask().transport_bytes(25, &[0]), Neighbour),
        row("asks with an option beyond the end", Free, ask().transport_bytes(25, &[2]), Neighbour),
        row("asks with half an option", Free, ask().transport_length(28), Neighbour),
        row("asks without a whole target", Free, ask().transport_length(23), Neighbour),
        row("asks by a unicast to a neighbour's mac", Free, ask().link_to([2, 0, 0, 0, 0, 9]), Neighbour),
        row("asks by broadcast", Free, ask().link_to([0xff; 6]), Neighbour),
        row("asks with five options", Free, (0..4).fold(ask(), |frame, _| option(frame, NONCE, [0; 6])), Neighbour),
        row("asks the group by another group's mac", Free, ask().link_to([0x33, 0x33, 0, 0, 0, 1]), Neighbour),
        row("asks the group by its mac but for a bit", Free, ask().link_to([0x33, 0x33, 0xff, 0, 0, 0]), Neighbour),
        row("asks the group by an ipv4 group's mac", Free, ask().link_to([1, 0, 0x5e, 0, 0, 1]), Neighbour),
        row("asks the group by the gateway's mac", Free, ask().link_to(GATEWAY_MAC), GatewayNeighbour),
        row(
            "asks the gateway itself by a group's mac",
            Free,
            with(135, GATEWAY, GATEWAY, SOURCE).link_to([0x33, 0x33, 0, 0, 0, 1]),
            Neighbour,
        ),
        row("detects a duplicate by all nodes' mac", Free, detect().link_to([0x33, 0x33, 0, 0, 0, 1]), Neighbour),
        row("asks with a byte behind", Free, ask().trailer(1), Neighbour),
        row("asks with padding behind", Free, ask().trailer(18), Neighbour),
        row("asks with a kilobyte behind", Free, ask().trailer(1_000).trailer_bytes(0, b"hide"), Neighbour),
        row(
            "detects a duplicate with something behind",
            Free,
            detect().trailer(4).trailer_bytes(0, b"hide"),
            Neighbour,
        ),
        row("asks a far address", Free, with(135, "2001:db8:10::10", "2001:db8:10::10", SOURCE), Neighbour),
    ]
}

fn advertisements() -> Vec<Row> {
    let answer = || with(136, GATEWAY, OWN, TARGET).link_to(GATEWAY_MAC);
    vec![
        row("answers the gateway", Free, answer(), GatewayNeighbour),
        row("answers all nodes", Free, with(136, ALL_NODES, OWN, TARGET), GatewayNeighbour),
        row(
            "answers for its link-local address",
            Free,
            with(136, GATEWAY, &SANDBOX_LINK.to_string(), TARGET),
            GatewayNeighbour,
        ),
        row("answers with override", Free, answer().transport_bytes(4, &[0x60]), GatewayNeighbour),
        row("answers without its link-layer address", Free, plain(136, GATEWAY, OWN), GatewayNeighbour),
        row("answers as a router", Free, answer().transport_bytes(4, &[0x80]), Neighbour),
        row("answers for the gateway", Free, with(136, ALL_NODES, GATEWAY, TARGET), Neighbour),
        row(
            "answers for the gateway's link-local address",
            Free,
            with(136, ALL_NODES, GATEWAY_LINK, TARGET),
            Neighbour,
        ),
        row("answers for a neighbour", Free, with(136, GATEWAY, NEIGHBOUR, TARGET), Neighbour),
        row("answers a neighbour", Free, with(136, NEIGHBOUR, OWN, TARGET), Neighbour),
        row("answers from the gateway's address", Free, answer().from(GATEWAY), Neighbour),
        row("answers from no address", Free, answer().from("::"), Neighbour),
        row(
            "answers with another's link-layer address",
            Free,
            answer().transport_bytes(26, &[2, 0, 0, 0, 0, 9]),
            Neighbour,
        ),
        row("answers with a source's link-layer address", Free, answer().transport_bytes(24, &[SOURCE]), Neighbour),
        row("answers with two, the second another's", Free, option(answer(), TARGET, GATEWAY_MAC), Neighbour),
        row(
            "answers all nodes by another group's mac",
            Free,
            with(136, ALL_NODES, OWN, TARGET).link_to([0x33, 0x33, 0, 0, 0, 2]),
            Neighbour,
        ),
        row("answers the gateway by all nodes' mac", Free, answer().link_to([0x33, 0x33, 0, 0, 0, 1]), Neighbour),
        row(
            "answers all nodes with something behind",
            Free,
            with(136, ALL_NODES, OWN, TARGET).trailer(4).trailer_bytes(0, b"hide"),
            Neighbour,
        ),
        row("answers from afar", Free, answer().hops(64), Neighbour),
    ]
}

fn routers() -> Vec<Row> {
    let solicit = || ip(ALL_ROUTERS, 58, &[133, 0, 0, 0, 0, 0, 0, 0]).hops(255).link_to([0x33, 0x33, 0, 0, 0, 2]);
    let link_local = SANDBOX_LINK.to_string();
    vec![
        row("asks for routers, switched on", WithDhcp, solicit().from(&link_local), GatewayDhcp),
        row("asks for routers from no address", WithDhcp, solicit().from("::"), GatewayDhcp),
        row(
            "asks the gateway for routers",
            WithDhcp,
            ip(GATEWAY, 58, &[133, 0, 0, 0, 0, 0, 0, 0]).hops(255),
            GatewayDhcp,
        ),
        row(
            "asks for routers with another's link-layer address",
            WithDhcp,
            option(solicit().from(&link_local), SOURCE, [2, 0, 0, 0, 0, 9]),
            Dhcp,
        ),
        row(
            "asks for routers with its link-layer address",
            WithDhcp,
            option(solicit().from(&link_local), SOURCE, SANDBOX_MAC),
            GatewayDhcp,
        ),
        row("asks for routers, switched off", Free, solicit().from(&link_local), Dhcp),
        row(
            "asks for routers by all nodes' mac",
            WithDhcp,
            solicit().from(&link_local).link_to([0x33, 0x33, 0, 0, 0, 1]),
            Dhcp,
        ),
        row(
            "asks for routers with something behind",
            WithDhcp,
            solicit().from(&link_local).trailer(4).trailer_bytes(0, b"hide"),
            Dhcp,
        ),
        row("asks for routers from afar", WithDhcp, solicit().hops(64), Dhcp),
        row("asks for routers as a neighbour", WithDhcp, solicit().from(NEIGHBOUR), Dhcp),
        row("asks all nodes for routers", WithDhcp, ip(ALL_NODES, 58, &[133, 0, 0, 0, 0, 0, 0, 0]).hops(255), Dhcp),
        row("asks a neighbour's mac for routers", WithDhcp, solicit().link_to([2, 0, 0, 0, 0, 9]), Dhcp),
        row("router advertisement", Free, plain(134, ALL_NODES, OWN).from(&link_local), RouterRole),
        row("router advertisement, dhcp on", WithDhcp, plain(134, ALL_NODES, OWN).from(&link_local), RouterRole),
        row("redirect", Free, plain(137, GATEWAY, OWN), RouterRole),
        row("redirect to a far address", Free, plain(137, "2001:db8:10::10", OWN), RouterRole),
        row("solicitation of nothing", Free, ip(GATEWAY, 58, &[135, 0, 0]), MalformedTransport).told(Told::Addresses),
    ]
}

/// A solicitation for `target` from `source`, with the link-layer address of the sandbox.
fn solicit(target: &str, source: &str) -> Frame {
    with(135, &group(target), target, SOURCE).from(source)
}

fn detect_link_local() -> Frame {
    let own = SANDBOX_LINK.to_string();
    plain(135, &group(&own), &own).from("::")
}

/// A message about `target` with one option that holds the sandbox's link-layer address.
fn with(kind: u8, to: &str, target: &str, holds: u8) -> Frame {
    option(plain(kind, to, target), holds, SANDBOX_MAC)
}

fn plain(kind: u8, to: &str, target: &str) -> Frame {
    let target = target.parse::<Ipv6Addr>().expect("an IPv6 address").octets();
    let frame = ip(to, 58, &[[kind, 0, 0, 0, 0, 0, 0, 0].as_slice(), &target].concat()).hops(255);
    let to = to.parse::<Ipv6Addr>().expect("an IPv6 address").octets();
    if to[0] == 0xff { frame.link_to([0x33, 0x33, to[12], to[13], to[14], to[15]]) } else { frame }
}

fn option(frame: Frame, kind: u8, mac: [u8; 6]) -> Frame {
    let at = frame.transport_len();
    frame.transport_length(at + 8).transport_bytes(at, &[kind, 1]).transport_bytes(at + 2, &mac)
}

/// The solicited-node group of an address (RFC 4291, section 2.7.1).
fn group(address: &str) -> String {
    let a = address.parse::<Ipv6Addr>().expect("an IPv6 address").octets();
    format!("ff02::1:ff{:02x}:{:02x}{:02x}", a[13], a[14], a[15])
}
