//! Port 53 of the operator's resolvers.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Row, icmp, row, tcp, udp};

const PUBLIC: &str = "8.8.8.8";
const PUBLIC6: &str = "2001:4860:4860::8888";
const PRIVATE: &str = "10.0.0.53";
const HOST: &str = "192.0.2.1";
const SANDBOX: &str = "10.9.9.9";

pub(super) fn rows() -> Vec<Row> {
    let from_53 = |to: &str, port: u16| udp(to, port).transport_bytes(0, &[0, 53]);
    vec![
        row("with names, udp", Named, udp(PUBLIC, 53), AllowedNameserver),
        row("with names, tcp", Named, tcp(PUBLIC, 53), AllowedNameserver),
        row("with names, ipv6", Named, udp(PUBLIC6, 53), AllowedNameserver),
        row("with names, private resolver", Named, udp(PRIVATE, 53), AllowedNameserver),
        row("with names, the host's resolver", Named, tcp(HOST, 53), AllowedNameserver),
        row("with names, a sandbox's resolver", Named, udp(SANDBOX, 53), AllowedNameserver),
        row("with names, dns over tls", Named, tcp(PUBLIC, 853), AddressDenied),
        row("with names, dns over https", Named, tcp(PUBLIC, 443), SidecarUnavailable),
        row("with names, multicast dns port", Named, udp(PUBLIC, 5353), AddressDenied),
        row("with names, port 54", Named, udp(PUBLIC, 54), AddressDenied),
        row("with names, from port 53", Named, from_53(PUBLIC, 9), AddressDenied),
        row("with names, echo request", Named, icmp(PUBLIC, 8, 0), AddressDenied),
        row("with names, an icmp code that looks like port 53", Named, icmp(PUBLIC, 0, 53), AddressDenied),
        row("with names, another resolver", Named, udp("8.8.4.4", 53), AddressDenied),
        row("with names, private resolver's other port", Named, tcp(PRIVATE, 443), ProtectedRange),
        row("with names, neighbour of the private resolver", Named, udp("10.0.0.54", 53), ProtectedRange),
        row("with names, the host's other port", Named, tcp(HOST, 80), ProtectedHost),
        row("with names, nat64 of a resolver", Named, udp("64:ff9b::8.8.8.8", 53), AddressDenied),
        row("with names, a spoofed question", Named, udp(PUBLIC, 53).from("203.0.113.1"), SourceAddress),
        row(
            "with names, a resolver by a neighbour's mac",
            Named,
            udp(PUBLIC, 53).link_to([2, 0, 0, 0, 0, 9]),
            DestinationMac,
        ),
        row("without names, denied resolver", Nameless, udp(PUBLIC, 53), AddressDenied),
        row("without names, private resolver", Nameless, udp(PRIVATE, 53), AllowedByDefault),
        row("without names, private resolver by tcp", Nameless, tcp(PRIVATE, 53), AllowedByDefault),
        row("without names, private resolver's other port", Nameless, udp(PRIVATE, 54), ProtectedRange),
        row("without names, the host's resolver", Nameless, udp(HOST, 53), AllowedByDefault),
        row("without names, the host's other port", Nameless, tcp(HOST, 80), ProtectedHost),
        row("without names, a sandbox's resolver", Nameless, udp(SANDBOX, 53), AllowedByDefault),
        row("without names, all denied", Shut, udp(PUBLIC, 53), AddressDenied),
        row("without names, private address that is none", Free, udp(PRIVATE, 53), ProtectedRange),
    ]
}
