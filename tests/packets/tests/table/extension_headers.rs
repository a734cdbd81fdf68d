//! IPv6 extension headers (RFC 8200, section 4).

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Frame, Row, row, tcp, udp};

const WEB6: &str = "2001:db8:10::10";
/// Eight bytes of options but for the next header: length, and one padding option.
const PADDING: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
const HOP_BY_HOP: (u8, &[u8]) = (0, PADDING);
const OPTIONS: (u8, &[u8]) = (60, PADDING);
/// A routing header of each type, with segments left.
const TYPE_0: (u8, &[u8]) = (43, &[2, 0, 1, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
const TYPE_2: (u8, &[u8]) = (43, &[2, 2, 1, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
const SEGMENTS: (u8, &[u8]) = (43, &[2, 4, 0, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);

pub(super) fn rows() -> Vec<Row> {
    let with = |headers: &[(u8, &[u8])]| -> Frame { tcp(WEB6, 443).headers(headers) };
    let dns = |port: u16| udp("2001:4860:4860::8888", port).headers(&[HOP_BY_HOP, OPTIONS]);
    let ten: (u8, &[u8]) = (60, &[1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    vec![
        row("hop-by-hop options", Free, with(&[HOP_BY_HOP]), AllowedByDefault),
        row("destination options", Free, with(&[OPTIONS]), AllowedByDefault),
        row("options of sixteen bytes", Free, with(&[ten]), AllowedByDefault),
        row("hop-by-hop and destination options", Free, with(&[HOP_BY_HOP, OPTIONS]), AllowedByDefault),
        row("as many as are followed", Free, with(&[OPTIONS; 6]), AllowedByDefault),
        row("one too many", Free, with(&[OPTIONS; 7]), ExtensionHeader),
        row("forty", Free, with(&[OPTIONS; 40]), ExtensionHeader).stopped_at(60),
        row("hop-by-hop options not first", Free, with(&[OPTIONS, HOP_BY_HOP]), ExtensionHeader).stopped_at(0),
        row("hop-by-hop options twice", Free, with(&[HOP_BY_HOP, HOP_BY_HOP]), ExtensionHeader).stopped_at(0),
        row("routing type 0", Free, with(&[TYPE_0]), SourceRoute).stopped_at(43),
        row("routing type 2", Free, with(&[TYPE_2]), SourceRoute).stopped_at(43),
        row("segment routing", Free, with(&[SEGMENTS]), SourceRoute).stopped_at(43),
        row("routing behind options", Free, with(&[HOP_BY_HOP, OPTIONS, TYPE_0]), SourceRoute).stopped_at(43),
        row("routing behind an atomic fragment", Free, with(&[(44, &[0, 0, 0, 0, 0, 0, 7]), TYPE_0]), SourceRoute)
            .stopped_at(43),
        row("mobility", Free, with(&[(135, PADDING)]), ExtensionHeader).stopped_at(135),
        row("host identity", Free, with(&[(139, PADDING)]), ExtensionHeader).stopped_at(139),
        row("shim6", Free, with(&[(140, PADDING)]), ExtensionHeader).stopped_at(140),
        row("authentication", Free, with(&[(51, &[4; 23])]), Protocol).stopped_at(51),
        row("experimental", Free, with(&[(253, PADDING)]), Protocol).stopped_at(253),
        row("longer than the packet", Free, with(&[(60, &[255, 1, 4, 0, 0, 0, 0])]), MalformedIp).stopped_at(60),
        row("cut after its first byte", Free, with(&[OPTIONS]).claim(1).cut(55), MalformedIp).stopped_at(60),
        row("second one in the padding", Free, with(&[OPTIONS, OPTIONS]).claim(8), MalformedIp).stopped_at(60),
        row("transport header in the padding", Free, with(&[OPTIONS]).claim(8), MalformedTransport),
        row("denied behind options", Shut, with(&[HOP_BY_HOP]), AddressDenied),
        row("ports behind options", Named, dns(53), AllowedNameserver),
        row("other port behind options", Named, dns(54), AddressDenied),
        row("tcp behind options", Proxied, with(&[OPTIONS; 6]), SidecarUnavailable),
    ]
}
