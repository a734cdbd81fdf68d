//! The two lists: allow beats deny at any length, and what stands for all traffic.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Row, icmp, row, tcp, udp};

const WEB: &str = "203.0.113.10";
const WEB6: &str = "2001:db8:10::10";

pub(super) fn rows() -> Vec<Row> {
    [all_traffic(), lengths(), protected()].concat()
}

fn all_traffic() -> Vec<Row> {
    vec![
        row("no lists", Free, tcp(WEB, 443), AllowedByDefault),
        row("empty allow list", Shut, tcp(WEB, 443), AddressDenied),
        row("empty allow list, udp", Shut, udp(WEB, 443), AddressDenied),
        row("empty allow list, icmp", Shut, icmp(WEB, 8, 0), AddressDenied),
        row("0.0.0.0/0 denied covers ipv6", Shut, tcp(WEB6, 443), AddressDenied),
        row("0.0.0.0/0 allowed covers ipv6", Wide, tcp(WEB6, 443), AllowedByList),
        row("allowed and denied in full", Wide, tcp(WEB, 443), AllowedByList),
        row("::/0 denied covers ipv6", NoSix, tcp(WEB6, 443), AddressDenied),
        row("::/0 denied leaves ipv4", NoSix, tcp(WEB, 443), AllowedByDefault),
        row("::/0 allowed covers ipv6", OnlySix, tcp(WEB6, 443), AllowedByList),
        row("::/0 allowed leaves ipv4 denied", OnlySix, tcp(WEB, 443), AddressDenied),
        row("no internet access", Offline, tcp("203.0.113.11", 443), AddressDenied),
        row("no internet access, ipv6", Offline, tcp(WEB6, 443), AddressDenied),
        row("no internet access, but an allowed address", Offline, tcp(WEB, 443), AllowedByList),
        row("internet access undoes no denial", Online, tcp(WEB, 443), AddressDenied),
        row("internet access, not denied", Online, tcp("203.0.114.1", 443), AllowedByDefault),
    ]
}

fn lengths() -> Vec<Row> {
    vec![
        row("first of an allowed /24", Listed, tcp("203.0.113.0", 443), AllowedByList),
        row("last of an allowed /24", Listed, tcp("203.0.113.255", 443), AllowedByList),
        row("before an allowed /24", Listed, tcp("203.0.112.255", 443), AddressDenied),
        row("after an allowed /24", Listed, tcp("203.0.114.0", 443), AddressDenied),
        row("first of an allowed /64", Listed, tcp("2001:db8:10::", 443), AllowedByList),
        row("last of an allowed /64", Listed, tcp("2001:db8:10:0:ffff:ffff:ffff:ffff", 443), AllowedByList),
        row("after an allowed /64", Listed, tcp("2001:db8:10:1::", 443), AddressDenied),
        row("allowed /32", Listed, tcp("1.1.1.1", 443), AllowedByList),
        row("beside an allowed /32", Listed, tcp("1.1.1.0", 443), AddressDenied),
        row("allowed /128", Listed, tcp("2606:4700::1111", 443), AllowedByList),
        row("beside an allowed /128", Listed, tcp("2606:4700::1110", 443), AddressDenied),
        row("host bits are dropped", Listed, tcp("8.0.0.200", 443), AllowedByList),
        row("after host bits that are dropped", Listed, tcp("8.0.1.0", 443), AddressDenied),
        row("denied /32 in an allowed /24", Nested, tcp("8.8.8.8", 443), AllowedByList),
        row("beside a denied /32 in an allowed /24", Nested, tcp("8.8.8.9", 443), AllowedByList),
        row("allowed /32 in a denied /24", Nested, tcp("9.9.9.9", 443), AllowedByList),
        row("beside an allowed /32 in a denied /24", Nested, tcp("9.9.9.8", 443), AddressDenied),
        row("denied /128 in an allowed /64", Nested, tcp("2001:db8:10::5", 443), AllowedByList),
        row("allowed /64 in a denied /48", Nested, tcp("2001:db8:20:1::9", 443), AllowedByList),
        row("beside an allowed /64 in a denied /48", Nested, tcp("2001:db8:20:2::9", 443), AddressDenied),
        row("denied /32 alone", Nested, tcp("7.7.7.7", 443), AddressDenied),
        row("beside a denied /32", Nested, tcp("7.7.7.6", 443), AllowedByDefault),
        row("its device's place is taken, denied", Crowded, tcp("203.0.113.10", 443), AddressDenied),
        row("its device's place is taken, not denied", Crowded, tcp("203.0.114.10", 443), AllowedByDefault),
        row("in no list", Nested, tcp("2001:db8:30::1", 443), AllowedByDefault),
    ]
}

fn protected() -> Vec<Row> {
    vec![
        row("private address that the user allows", Listed, tcp("10.1.2.3", 443), ProtectedRange),
        row("metadata service that the user allows", Listed, tcp("169.254.169.254", 80), ProtectedRange),
        row("private ipv6 address that the user allows", Listed, tcp("fd00::1", 443), ProtectedRange),
        row("broadcast that the user allows", Nested, udp("255.255.255.255", 9), ProtectedRange),
        row("private address that the user denies", Shut, tcp("10.1.2.3", 443), ProtectedRange),
    ]
}
