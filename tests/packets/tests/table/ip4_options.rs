//! IPv4 options.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Row, row, tcp, udp};

const WEB: &str = "203.0.113.10";
const LOOSE: [u8; 7] = [131, 7, 4, 10, 0, 0, 1];
const STRICT: [u8; 7] = [137, 7, 4, 10, 0, 0, 1];

pub(super) fn rows() -> Vec<Row> {
    let with = |options: &[u8]| tcp(WEB, 443).options(options);
    let behind = |first: &[u8], then: &[u8]| with(&[first, then].concat());
    vec![
        row("end of list", Free, with(&[0]), AllowedByDefault),
        row("no operations", Free, with(&[1; 4]), AllowedByDefault),
        row("forty no operations", Free, with(&[1; 40]), AllowedByDefault),
        row("record route", Free, with(&[7, 7, 4, 0, 0, 0, 0]), AllowedByDefault),
        row("timestamp", Free, with(&[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]), AllowedByDefault),
        row("router alert", Free, with(&[148, 4, 0, 0]), AllowedByDefault),
        row("unknown option", Free, with(&[94, 4, 0, 0]), AllowedByDefault),
        row("source route inside a record route", Free, with(&[7, 11, 4, 131, 7, 4, 10, 0, 0, 1, 0]), AllowedByDefault),
        row("source route behind the end of the list", Free, behind(&[0], &LOOSE), AllowedByDefault),
        row("loose source route", Free, with(&LOOSE), SourceRoute),
        row("strict source route", Free, with(&STRICT), SourceRoute),
        row("loose source route that is used up", Free, with(&[131, 7, 8, 10, 0, 0, 1]), SourceRoute),
        row("source route behind a no operation", Free, behind(&[1], &LOOSE), SourceRoute),
        row("source route behind 33 no operations", Free, behind(&[1; 33], &STRICT), SourceRoute),
        row("source route behind a timestamp", Free, behind(&[68, 4, 5, 0], &STRICT), SourceRoute),
        row("source route kind in the last byte", Free, behind(&[1; 39], &[131]), SourceRoute),
        row("option of length 0", Free, with(&[7, 0, 4, 0]), MalformedIp),
        row("option of length 1", Free, with(&[7, 1, 4, 0]), MalformedIp),
        row("option longer than the header", Free, with(&[7, 5, 4, 0]), MalformedIp),
        row("option of length 255", Free, with(&[7, 255, 4, 0]), MalformedIp),
        row("option without a length", Free, with(&[1, 1, 1, 7]), MalformedIp),
        row("options of a denied packet", Shut, with(&[1; 4]), AddressDenied),
        row("ports behind options", Named, udp("8.8.8.8", 53).options(&[1; 12]), AllowedNameserver),
        row("other port behind options", Named, udp("8.8.8.8", 54).options(&[1; 12]), AddressDenied),
        row("tcp behind options", Proxied, with(&[1; 40]), SidecarUnavailable),
    ]
}
