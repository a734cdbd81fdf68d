//! The IPv4 header.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Row, Told, row, tcp, udp};

const WEB: &str = "203.0.113.10";

pub(super) fn rows() -> Vec<Row> {
    let web = || tcp(WEB, 443);
    vec![
        row("udp", Free, udp(WEB, 9000), AllowedByDefault),
        row("don't fragment", Free, web().network_bytes(6, &[0x40, 0]), AllowedByDefault),
        row("reserved flag", Free, web().network_bytes(6, &[0x80, 0]), AllowedByDefault),
        row("type of service", Free, web().network_bytes(1, &[0xff]), AllowedByDefault),
        row("last hop", Free, web().hops(1), AllowedByDefault),
        row("wrong checksum", Free, web().network_bytes(10, &[0xde, 0xad]), AllowedByDefault),
        row("version 0", Free, web().network_bytes(0, &[0x05]), MalformedIp).told(Told::Link),
        row("version 5", Free, web().network_bytes(0, &[0x55]), MalformedIp).told(Told::Link),
        row("version 6", Free, web().network_bytes(0, &[0x65]), MalformedIp).told(Told::Link),
        row("header of 0 bytes", Free, web().network_bytes(0, &[0x40]), MalformedIp).told(Told::Link),
        row("header of 16 bytes", Free, web().network_bytes(0, &[0x44]), MalformedIp).told(Told::Link),
        row("header longer than the packet", Free, web().transport_length(4).network_bytes(0, &[0x4f]), MalformedIp),
        row("length 0", Free, web().claim(0), MalformedIp),
        row("length less than the header", Free, web().claim(19), MalformedIp),
        row("length of the header alone", Free, web().claim(20), MalformedTransport),
        row("length one more than the frame", Free, web().claim(41), MalformedIp),
        row("length 65535", Free, web().claim(65_535), MalformedIp),
        row("frame missing a byte", Free, web().cut(53), MalformedIp),
        row("transport header in the padding", Free, web().claim(39), MalformedTransport),
        row("malformed comes before denied", Shut, web().claim(41), MalformedIp),
        row("malformed comes before a spoofed source", Free, web().from("1.2.3.4").claim(41), MalformedIp),
    ]
}
