//! DHCP and DHCPv6.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Frame, Row, SANDBOX_LINK, row, udp};

const ALL: &str = "255.255.255.255";
const GATEWAY: &str = "198.51.100.1";
const SERVERS: &str = "ff02::1:2";

pub(super) fn rows() -> Vec<Row> {
    [ip4(), ip6()].concat()
}

fn ip4() -> Vec<Row> {
    let discover = || client(ALL).from("0.0.0.0").link_to([0xff; 6]);
    vec![
        row("discover", WithDhcp, discover(), GatewayDhcp),
        row("discover to the gateway's mac", WithDhcp, client(ALL).from("0.0.0.0"), GatewayDhcp),
        row("request from its own address", WithDhcp, client(ALL).link_to([0xff; 6]), GatewayDhcp),
        row("renewal at the gateway", WithDhcp, client(GATEWAY), GatewayDhcp),
        row("discover, switched off", Free, discover(), Dhcp),
        row("renewal, switched off", Free, client(GATEWAY), Dhcp),
        row("discover, all allowed but not this", Wide, discover(), Dhcp),
        row("discover to a neighbour's mac", WithDhcp, discover().link_to([2, 0, 0, 0, 0, 9]), Dhcp),
        row("discover to a group's mac", WithDhcp, discover().link_to([1, 0, 0x5e, 0, 0, 1]), Dhcp),
        row("discover with something behind", WithDhcp, discover().trailer(4).trailer_bytes(0, b"hide"), Dhcp),
        row("discover with a byte of nothing behind", WithDhcp, discover().trailer(1), Dhcp),
        row("request from another's address", WithDhcp, client(ALL).from("198.51.100.66"), Dhcp),
        row("request as the gateway", WithDhcp, client(ALL).from(GATEWAY), Dhcp),
        row("renewal from no address", WithDhcp, client(GATEWAY).from("0.0.0.0"), Dhcp),
        row("discover in a fragment", WithDhcp, discover().fragment(0, true), Dhcp),
        row("offer", WithDhcp, from_port(ALL, 67, 68), Dhcp),
        row("offer, switched off", Free, from_port("203.0.113.10", 67, 68), Dhcp),
        row("relayed", WithDhcp, from_port(GATEWAY, 67, 67), ProtectedHost),
        row("ports of a client, far address", Free, client("203.0.113.10"), AllowedByDefault),
        row("ports of a client, denied address", Shut, client("203.0.113.10"), AddressDenied),
        row("ports of a client, private address", WithDhcp, client("10.0.5.1"), ProtectedRange),
        row("other port by broadcast", WithDhcp, udp(ALL, 69).link_to([0xff; 6]), ProtectedRange),
        row("other source by broadcast", WithDhcp, udp(ALL, 67).from("0.0.0.0"), SourceAddress),
    ]
}

fn ip6() -> Vec<Row> {
    let own = SANDBOX_LINK.to_string();
    let solicit = || from_port(SERVERS, 546, 547).from(&own).link_to([0x33, 0x33, 0, 1, 0, 2]);
    vec![
        row("solicit", WithDhcp, solicit(), GatewayDhcp),
        row("solicit from its own address", WithDhcp, solicit().from("2001:db8:a::2"), GatewayDhcp),
        row(
            "renewal at the gateway over ipv6",
            WithDhcp,
            from_port("fe80::ff:fe00:1", 546, 547).from(&own),
            GatewayDhcp,
        ),
        row("solicit, switched off", Free, solicit(), Dhcp),
        row("solicit as the gateway", WithDhcp, solicit().from("fe80::ff:fe00:1"), Dhcp),
        row("solicit as a neighbour", WithDhcp, solicit().from("2001:db8:b::2"), Dhcp),
        row("solicit from no address", WithDhcp, solicit().from("::"), Dhcp),
        row("solicit by broadcast", WithDhcp, solicit().link_to([0xff; 6]), Dhcp),
        row("solicit by another group's mac", WithDhcp, solicit().link_to([0x33, 0x33, 0, 0, 0, 1]), Dhcp),
        row("solicit with something behind", WithDhcp, solicit().trailer(4).trailer_bytes(0, b"hide"), Dhcp),
        row("advertise", WithDhcp, from_port("fe80::9", 547, 546).from(&own), Dhcp),
        row("ports of a client, far ipv6 address", Free, from_port("2001:db8:10::10", 546, 547), AllowedByDefault),
        row("site's servers", WithDhcp, from_port("ff05::1:3", 546, 547), ProtectedRange),
    ]
}

fn client(to: &str) -> Frame {
    from_port(to, 68, 67)
}

fn from_port(to: &str, source_port: u16, port: u16) -> Frame {
    udp(to, port).transport_bytes(0, &source_port.to_be_bytes())
}
