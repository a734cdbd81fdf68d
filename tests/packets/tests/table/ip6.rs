//! The IPv6 header.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Row, Told, ip, row, tcp, udp};

const WEB6: &str = "2001:db8:10::10";

pub(super) fn rows() -> Vec<Row> {
    let web = || tcp(WEB6, 443);
    vec![
        row("udp", Free, udp(WEB6, 9000), AllowedByDefault),
        row("traffic class and flow label", Free, web().network_bytes(0, &[0x6f, 0xff, 0xff, 0xff]), AllowedByDefault),
        row("last hop", Free, web().hops(1), AllowedByDefault),
        row("version 0", Free, web().network_bytes(0, &[0]), MalformedIp).told(Told::Link),
        row("version 4", Free, web().network_bytes(0, &[0x45]), MalformedIp).told(Told::Link),
        row("version 7", Free, web().network_bytes(0, &[0x70]), MalformedIp).told(Told::Link),
        row("no payload", Free, web().claim(0), MalformedIp),
        row("jumbogram", Free, web().headers(&[(0, &[0, 0xc2, 4, 0, 1, 0, 0])]).claim(0), MalformedIp).stopped_at(0),
        row("length one more than the frame", Free, web().claim(21), MalformedIp),
        row("length 65535", Free, web().claim(65_535), MalformedIp),
        row("frame missing a byte", Free, web().cut(73), MalformedIp),
        row("transport header in the padding", Free, web().claim(19), MalformedTransport),
        row("to a mapped address", Free, tcp("::ffff:203.0.113.10", 443), MappedAddress),
        row("to a mapped private address", Free, tcp("::ffff:10.0.0.1", 443), MappedAddress),
        row("to a mapped address, all allowed", Wide, tcp("::ffff:203.0.113.10", 443), MappedAddress),
        row("from a mapped address", Free, web().from("::ffff:198.51.100.2"), MappedAddress),
        row("from a mapped address, any source", AnySource, web().from("::ffff:1.2.3.4"), MappedAddress),
        row("to an address beside the mapped ones", Free, tcp("::fffe:203.0.113.10", 443), AllowedByDefault),
        row("to a translated address", Free, tcp("::ffff:0:203.0.113.10", 443), AllowedByDefault),
        row("to an address that ends as a mapped one", Free, tcp("1::ffff:203.0.113.10", 443), AllowedByDefault),
        row("no next header", Free, ip(WEB6, 59, &[0; 8]), Protocol),
    ]
}
