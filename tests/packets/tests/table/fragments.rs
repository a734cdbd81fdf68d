//! Fragments of both families: tiny, orphaned, overlapping, oversized (RFC 1858, 3128, 5722, 6946, 7112).

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Row, Told, icmp, ip, row, tcp, udp};

const WEB: &str = "203.0.113.10";
const WEB6: &str = "2001:db8:10::10";

pub(super) fn rows() -> Vec<Row> {
    [ip4(), ip6()].concat()
}

fn ip4() -> Vec<Row> {
    let part = || udp(WEB, 9000).transport_length(64);
    let dns = || udp("8.8.8.8", 53);
    vec![
        row("first of udp", Free, part().fragment(0, true), AllowedByDefault),
        row(
            "first of udp, datagram longer than it",
            Free,
            part().transport_bytes(4, &[4, 0]).fragment(0, true),
            AllowedByDefault,
        ),
        row("middle of udp", Free, part().fragment(64, true), AllowedByDefault),
        row("last of udp", Free, part().transport_length(3).fragment(1480, false), AllowedByDefault),
        row("later part over the first's header", Free, part().fragment(8, false), AllowedByDefault),
        row("first of icmp", Free, icmp(WEB, 8, 0).transport_length(64).fragment(0, true), AllowedByDefault),
        row("last of icmp", Free, icmp(WEB, 8, 0).fragment(64, false), AllowedByDefault),
        row("last that ends at 65535", Free, part().transport_length(7).fragment(65_528, false), AllowedByDefault),
        row("last that ends beyond 65535", Free, part().transport_length(8).fragment(65_528, false), Fragment),
        row("first of tcp", Free, tcp(WEB, 443).transport_length(64).fragment(0, true), Fragment),
        row("tiny first of tcp", Free, tcp(WEB, 443).transport_length(8).fragment(0, true), Fragment),
        row("tcp from its flags on", Free, tcp(WEB, 443).fragment(8, false), Fragment),
        row("last of tcp", Free, tcp(WEB, 443).fragment(1480, false), Fragment),
        row("first of seven bytes", Free, part().transport_length(7).fragment(0, true), Fragment),
        row("first that no part can follow", Free, part().transport_length(12).fragment(0, true), Fragment),
        row("first of nothing", Free, part().transport_length(0).fragment(0, true), Fragment),
        row("last of nothing", Free, part().transport_length(0).fragment(64, false), Fragment),
        row(
            "first with a datagram of four bytes",
            Free,
            part().transport_bytes(4, &[0, 4]).fragment(0, true),
            Fragment,
        ),
        row("later of gre", Free, ip(WEB, 47, &[0; 16]).fragment(64, false), Protocol),
        row("later to a denied address", Shut, part().fragment(64, false), AddressDenied),
        row("later to a protected address", Wide, udp("10.0.0.9", 9).fragment(64, false), ProtectedRange),
        row("later from a spoofed source", Free, part().from("1.2.3.4").fragment(64, false), SourceAddress),
        row("first to a nameserver", Named, dns().fragment(0, true), AllowedNameserver),
        row("later to a nameserver", Named, dns().fragment(64, false), AddressDenied),
        row("first of a redirect", Free, icmp(WEB, 5, 0).fragment(0, true), RouterRole),
    ]
}

fn ip6() -> Vec<Row> {
    let part = || udp(WEB6, 9000).transport_length(64);
    let options: (u8, &[u8]) = (60, &[0, 1, 4, 0, 0, 0, 0]);
    let part_of =
        |next: u8, field: u16| -> Vec<u8> { [&[0], field.to_be_bytes().as_slice(), &[0, 0, 0, next]].concat() };
    vec![
        row("atomic of tcp over ipv6", Free, tcp(WEB6, 443).fragment(0, false), AllowedByDefault),
        row("first of udp over ipv6", Free, part().fragment(0, true), AllowedByDefault),
        row("middle of udp over ipv6", Free, part().fragment(64, true), AllowedByDefault),
        row("last of udp over ipv6", Free, part().transport_length(3).fragment(1480, false), AllowedByDefault),
        row("first of icmpv6", Free, icmp(WEB6, 128, 0).fragment(0, true), AllowedByDefault),
        row("last of icmpv6", Free, icmp(WEB6, 128, 0).fragment(64, false), AllowedByDefault),
        row(
            "last that ends beyond 65535 over ipv6",
            Free,
            part().transport_length(8).fragment(65_528, false),
            Fragment,
        ),
        row("first of tcp over ipv6", Free, tcp(WEB6, 443).transport_length(64).fragment(0, true), Fragment),
        row("last of tcp over ipv6", Free, tcp(WEB6, 443).fragment(64, false), Fragment),
        row("first that no part can follow over ipv6", Free, part().transport_length(12).fragment(0, true), Fragment),
        row("first of seven bytes over ipv6", Free, part().transport_length(7).fragment(0, true), Fragment),
        row("last of nothing over ipv6", Free, part().transport_length(0).fragment(64, false), Fragment),
        row("later of gre over ipv6", Free, ip(WEB6, 47, &[0; 16]).fragment(64, false), Fragment),
        row("later of an extension header", Free, part().headers(&[(44, &part_of(7, 64)), options]), Fragment)
            .stopped_at(60),
        row(
            "first whose headers go on in a later part",
            Free,
            part().transport_length(0).headers(&[(44, &part_of(7, 1)), (60, &[9, 1, 4, 0, 0, 0, 0])]),
            Fragment,
        )
        .stopped_at(60),
        row("first in a first", Free, part().headers(&[(44, &part_of(7, 1)), (44, &part_of(7, 1))]), ExtensionHeader),
        row(
            "first in an atomic one",
            Free,
            part().headers(&[(44, &part_of(7, 0)), (44, &part_of(7, 1))]),
            ExtensionHeader,
        ),
        row("header cut short", Free, part().headers(&[(44, &part_of(7, 0))]).claim(4).cut(58), MalformedIp)
            .stopped_at(44),
        row("header longer than the packet", Free, part().headers(&[(44, &part_of(7, 0))]).claim(4), MalformedIp)
            .stopped_at(44),
        row("later to a denied address over ipv6", Shut, part().fragment(64, false), AddressDenied),
        row(
            "later to a nameserver over ipv6",
            Named,
            udp("2001:4860:4860::8888", 53).fragment(64, false),
            AddressDenied,
        ),
        row("first of a router advertisement", Free, icmp(WEB6, 134, 0).fragment(0, true), RouterRole),
        row("first of a neighbour solicitation", Free, icmp(WEB6, 135, 0).fragment(0, true), Neighbour)
            .told(Told::Ports),
    ]
}
