//! What is to go through the sidecar: denied while there is none, never forwarded directly.

use filter_core::Reason::*;
use test_packets::Profile::*;
use test_packets::{Row, icmp, row, tcp, udp};

const WEB: &str = "203.0.113.10";
const WEB6: &str = "2001:db8:10::10";
const DENIED: &str = "9.9.9.9";

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("names, web to an address that is denied", Named, tcp("203.0.113.11", 443), SidecarUnavailable),
        row("names, plain web to an address that is denied", Named, tcp("203.0.113.11", 80), SidecarUnavailable),
        row(
            "names, web over ipv6 to an address that is denied",
            Named,
            tcp("2001:db8:10::11", 443),
            SidecarUnavailable,
        ),
        row("names, other tcp to an address that is denied", Named, tcp("203.0.113.11", 22), AddressDenied),
        row("names, web to the host", Named, tcp("192.0.2.1", 443), ProtectedHost),
        row("names, web to another sandbox", Named, tcp("198.51.100.66", 80), ProtectedSandbox),
        row("names, web to an address that is allowed", Named, tcp(WEB, 443), AllowedByList),
        row("names, quic to an address that is denied", Named, udp("203.0.113.11", 443), AddressDenied),
        row("names, web to the metadata service", Named, tcp("169.254.169.254", 80), ProtectedRange),
        row("proxy, web", Proxied, tcp(WEB, 443), SidecarUnavailable),
        row("proxy, any tcp", Proxied, tcp(WEB, 22), SidecarUnavailable),
        row("proxy, tcp over ipv6", Proxied, tcp(WEB6, 22), SidecarUnavailable),
        row(
            "proxy, tcp in the middle of a flow",
            Proxied,
            tcp(WEB, 22).transport_bytes(13, &[0x10]),
            SidecarUnavailable,
        ),
        row("proxy, dns by tcp", Proxied, tcp("8.8.8.8", 53), SidecarUnavailable),
        row("proxy, udp", Proxied, udp(WEB, 443), AllowedByDefault),
        row("proxy, icmp", Proxied, icmp(WEB, 8, 0), AllowedByDefault),
        row("proxy, denied", Proxied, tcp(DENIED, 443), AddressDenied),
        row("proxy, protected", Proxied, tcp("10.0.0.9", 443), ProtectedRange),
        row("proxy, host", Proxied, tcp("192.0.2.1", 443), ProtectedHost),
        row("proxy, sandbox", Proxied, tcp("198.51.100.66", 443), ProtectedSandbox),
        row("proxy, spoofed", Proxied, tcp(WEB, 443).from(WEB), SourceAddress),
        row("rules, https", Transformed, tcp(WEB, 443), SidecarUnavailable),
        row("rules, http", Transformed, tcp(WEB, 80), SidecarUnavailable),
        row("rules, https over ipv6", Transformed, tcp(WEB6, 443), SidecarUnavailable),
        row("rules, other tcp", Transformed, tcp(WEB, 8080), AllowedByDefault),
        row("rules, quic", Transformed, udp(WEB, 443), AllowedByDefault),
        row("rules, denied", Transformed, tcp(DENIED, 443), AddressDenied),
        row("rules, protected", Transformed, tcp("10.0.0.9", 443), ProtectedRange),
    ]
}
