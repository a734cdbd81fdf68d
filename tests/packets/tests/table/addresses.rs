//! The fixed protected ranges at both edges, and IPv6 addresses that embed IPv4 ones. The sandbox's user allows everything.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Row, row, tcp, udp};

/// First and last address of each range, and the neighbours on both sides that are free.
const RANGES: &[(&str, &str, &[&str])] = &[
    ("0.0.0.0", "0.255.255.255", &["1.0.0.0"]),
    ("10.0.0.0", "10.255.255.255", &["9.255.255.255", "11.0.0.0"]),
    ("100.64.0.0", "100.127.255.255", &["100.63.255.255", "100.128.0.0"]),
    ("127.0.0.0", "127.255.255.255", &["126.255.255.255", "128.0.0.0"]),
    ("169.254.0.0", "169.254.255.255", &["169.253.255.255", "169.255.0.0"]),
    ("172.16.0.0", "172.31.255.255", &["172.15.255.255", "172.32.0.0"]),
    ("192.0.0.0", "192.0.0.255", &["191.255.255.255", "192.0.1.0"]),
    ("192.168.0.0", "192.168.255.255", &["192.167.255.255", "192.169.0.0"]),
    ("198.18.0.0", "198.19.255.255", &["198.17.255.255", "198.20.0.0"]),
    ("224.0.0.0", "239.255.255.255", &["223.255.255.255"]),
    ("240.0.0.0", "255.255.255.255", &[]),
    ("168.63.129.16", "168.63.129.16", &["168.63.129.15", "168.63.129.17"]),
    ("::", "::ffff:ffff", &["::1:0:0"]),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &["fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::"]),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &["fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &[]),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &[]),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", &["64:ff9b:0:ffff:ffff:ffff:ffff:ffff", "64:ff9b:2::"]),
];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = embedded();
    for (first, last, free) in RANGES {
        rows.push(row(format!("{first} begins a range"), Wide, tcp(first, 443), ProtectedRange));
        rows.push(row(format!("{last} ends a range"), Wide, udp(last, 9), ProtectedRange));
        rows.extend(free.iter().map(|free| row(format!("{free} is free"), Wide, tcp(free, 443), AllowedByList)));
    }
    rows
}

fn embedded() -> Vec<Row> {
    vec![
        row("nat64 of a public address", Wide, tcp("64:ff9b::8.8.8.8", 443), AllowedByList),
        row("nat64 of a private address", Wide, tcp("64:ff9b::10.0.0.1", 443), ProtectedEmbedded),
        row("nat64 of the metadata service", Wide, tcp("64:ff9b::169.254.169.254", 80), ProtectedEmbedded),
        row("nat64 of loopback", Wide, tcp("64:ff9b::127.0.0.1", 443), ProtectedEmbedded),
        row("nat64 of the host", Wide, tcp("64:ff9b::192.0.2.1", 443), ProtectedEmbedded),
        row("nat64 of a host's network", Wide, tcp("64:ff9b::192.0.2.9", 443), ProtectedEmbedded),
        row("nat64 of a sandbox", Wide, tcp("64:ff9b::198.51.100.66", 443), ProtectedEmbedded),
        row("nat64 of a denied address", Embedded, tcp("64:ff9b::9.9.9.9", 443), ProtectedEmbedded),
        row("nat64 of an address beside a denied one", Embedded, tcp("64:ff9b::9.9.8.9", 443), AllowedByDefault),
        row("nat64 of a private address by udp", Free, udp("64:ff9b::192.168.1.1", 53), ProtectedEmbedded),
        row("nat64 denied as such", NoSix, tcp("64:ff9b::8.8.8.8", 443), AddressDenied),
        row("nat64 allowed as such, of a denied address", OnlySix, tcp("64:ff9b::8.8.8.8", 443), ProtectedEmbedded),
        row("longer prefix than nat64's", Wide, tcp("64:ff9b::1:a00:1", 443), AllowedByList),
        row("6to4 of a public address", Wide, tcp("2002:808:808::1", 443), AllowedByList),
        row("6to4 of a private address", Wide, tcp("2002:a00:1::1", 443), ProtectedEmbedded),
        row(
            "6to4 of a private address with a private end",
            Free,
            tcp("2002:c0a8:101:a00:1:2:3:4", 443),
            ProtectedEmbedded,
        ),
        row("6to4 of a sandbox", Wide, tcp("2002:c633:6442::1", 443), ProtectedEmbedded),
        row("6to4 of a denied address", Embedded, tcp("2002:909:909::1", 443), ProtectedEmbedded),
        row("before 6to4", Wide, tcp("2001:ffff:a00:1::1", 443), AllowedByList),
        row("after 6to4", Wide, tcp("2003:a00:1::1", 443), AllowedByList),
        row("teredo of public addresses", Wide, tcp("2001:0:808:808:0:0:f7f7:f7f7", 443), AllowedByList),
        row("teredo of a private client", Wide, tcp("2001:0:808:808:0:0:f5ff:fffe", 443), ProtectedEmbedded),
        row("teredo of a private server", Wide, tcp("2001:0:a00:1:0:0:f7f7:f7f7", 443), ProtectedEmbedded),
        row("teredo of a denied client", Embedded, tcp("2001:0:808:808:0:0:f6f6:f6f6", 443), ProtectedEmbedded),
        row("teredo of a denied server", Embedded, tcp("2001:0:909:909:0:0:f7f7:f7f7", 443), ProtectedEmbedded),
        row("after teredo", Wide, tcp("2001:1:a00:1::1", 443), AllowedByList),
    ]
}
