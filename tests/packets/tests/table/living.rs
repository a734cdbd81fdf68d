//! Protected addresses that come and go, and ranges that the operator has opened.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Row, icmp, row, tcp, udp};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("the gateway", Free, tcp("198.51.100.1", 22), ProtectedHost),
        row("the gateway over ipv6", Free, tcp("2001:db8:a::1", 22), ProtectedHost),
        row("the host's other address", Wide, tcp("192.0.2.1", 443), ProtectedHost),
        row("the host's other address over ipv6", Wide, udp("2001:db8:77::1", 9), ProtectedHost),
        row("a network of the host", Wide, tcp("192.0.2.200", 443), ProtectedLink),
        row("first of a network of the host", Wide, tcp("192.0.2.0", 443), ProtectedLink),
        row("last of a network of the host", Wide, tcp("192.0.2.255", 443), ProtectedLink),
        row("after a network of the host", Wide, tcp("192.0.3.0", 443), AllowedByList),
        row("a network of the host over ipv6", Wide, tcp("2001:db8:77::99", 443), ProtectedLink),
        row("after a network of the host over ipv6", Wide, tcp("2001:db8:77:1::", 443), AllowedByList),
        row("the far end of a point-to-point link", Wide, tcp("203.0.112.2", 443), ProtectedLink),
        row("beyond a point-to-point link", Wide, tcp("203.0.112.3", 443), AllowedByList),
        row("another sandbox", Wide, tcp("198.51.100.66", 443), ProtectedSandbox),
        row("another sandbox by echo request", Wide, icmp("198.51.100.66", 8, 0), ProtectedSandbox),
        row("last of a pool", Wide, udp("198.51.100.127", 9), ProtectedSandbox),
        row("after a pool", Wide, udp("198.51.100.128", 9), AllowedByList),
        row("another sandbox over ipv6", Wide, tcp("2001:db8:b:ffff::2", 443), ProtectedSandbox),
        row("another sandbox on a network of the host", Wide, tcp("192.0.2.66", 443), ProtectedSandbox),
        row("itself", Free, tcp("198.51.100.2", 443), ProtectedSandbox),
        row("itself over ipv6", Free, tcp("2001:db8:a::2", 443), ProtectedSandbox),
        row("its link", Free, tcp("198.51.100.3", 443), ProtectedLink),
        row("denied before it is protected", Shut, tcp("192.0.2.1", 443), AddressDenied),
        row("opened by the operator", Opened, tcp("10.2.3.4", 443), AllowedByDefault),
        row("opened by the operator over ipv6", Opened, tcp("fd00::9", 443), AllowedByDefault),
        row("first that is opened", Opened, tcp("10.0.1.0", 443), AllowedByDefault),
        row("last that is opened", Opened, tcp("10.255.255.255", 443), AllowedByDefault),
        row("beyond what is opened", Opened, tcp("172.16.0.1", 443), ProtectedRange),
        row("beyond what is opened over ipv6", Opened, tcp("fd01::9", 443), ProtectedRange),
        row("opened, denied by the user", Opened, tcp("10.1.2.3", 443), AddressDenied),
        row("opened, allowed by the user", Opened, tcp("10.1.1.3", 443), AllowedByList),
        row("opened, an address of the host", Opened, tcp("10.0.0.1", 443), AllowedByDefault),
        row("opened, a network of the host", Opened, tcp("192.0.2.77", 443), AllowedByDefault),
        row("beside what is opened of a network of the host", Opened, tcp("192.0.2.78", 443), ProtectedLink),
        row("opened, a sandbox", Opened, tcp("10.9.9.9", 443), ProtectedSandbox),
        row("opened, nat64", Opened, tcp("64:ff9b::10.2.3.4", 443), AllowedByDefault),
        row("opened, nat64 of a denied address", Opened, tcp("64:ff9b::10.1.2.3", 443), ProtectedEmbedded),
        row("opened, nat64 of a sandbox", Opened, tcp("64:ff9b::10.9.9.9", 443), ProtectedEmbedded),
        row("opened for one operator only", Free, tcp("10.2.3.4", 443), ProtectedRange),
    ]
}
