//! The fixed protected ranges, which no sandbox reaches whatever its user allows.
//!
//! Private, shared, loopback, link-local, documentation-of-benchmark, multicast and reserved space (IANA special-purpose
//! registries, RFC 6890), and the metadata address of a large cloud that lies in public space. Only an operator's `openRanges`
//! lifts one.

use crate::Address;

/// The fixed IPv4 ranges: network and prefix length.
pub const V4: &[([u8; 4], u8)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    ([168, 63, 129, 16], 32),
];

/// The fixed IPv6 ranges: the first 64 bits of the network and the prefix length. `::/96` is not among them, because it needs
/// the low bits too; [`covers`] knows it.
pub const V6: &[(u64, u8)] = &[
    (0xfc00_0000_0000_0000, 7),
    (0xfe80_0000_0000_0000, 10),
    (0xfec0_0000_0000_0000, 10),
    (0xff00_0000_0000_0000, 8),
    (0x0064_ff9b_0001_0000, 48),
];

/// The first bytes of all addresses in the IPv4 ranges, a bit each: most addresses are told apart by these.
const FIRST_BYTES: [u64; 4] = {
    let mut bytes = [0; 4];
    let mut at = 0;
    while at < V4.len() {
        let (network, bits) = V4[at];
        let mut first = network[0] as usize;
        let last = first | if bits < 8 { 0xff >> bits } else { 0 };
        while first <= last {
            bytes[first / 64] |= 1 << (first % 64);
            first += 1;
        }
        at += 1;
    }
    bytes
};

/// Whether a fixed range covers `address`.
#[inline(always)]
#[must_use]
pub fn covers(address: &Address) -> bool {
    let (high, low) = address.words();
    if high != 0 {
        return covers_v6(high);
    }
    match (low >> 32) as u32 {
        0xffff => covers_v4(low as u32),
        0 => true,
        _ => false,
    }
}

/// Whether a fixed range covers this IPv4 address, in host order.
#[inline(always)]
#[must_use]
pub fn covers_v4(address: u32) -> bool {
    let first = (address >> 24) as usize;
    if FIRST_BYTES[first / 64] >> (first % 64) & 1 == 0 {
        return false;
    }
    let mut at = 0;
    while at < V4.len() {
        let (network, bits) = V4[at];
        if (address ^ u32::from_be_bytes(network)) >> (32 - bits) == 0 {
            return true;
        }
        at += 1;
    }
    false
}

#[inline(always)]
fn covers_v6(high: u64) -> bool {
    let mut at = 0;
    while at < V6.len() {
        let (network, bits) = V6[at];
        if (high ^ network) >> (64 - bits) == 0 {
            return true;
        }
        at += 1;
    }
    false
}

/// The IPv4 addresses that an IPv6 address carries inside, in host order: NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380:
/// server and client).
#[inline(always)]
#[must_use]
pub fn embedded(address: &Address) -> Option<[u32; 2]> {
    let (high, low) = address.words();
    if high == 0x0064_ff9b_0000_0000 && low >> 32 == 0 {
        let v4 = low as u32;
        return Some([v4, v4]);
    }
    if high >> 48 == 0x2002 {
        let v4 = (high >> 16) as u32;
        return Some([v4, v4]);
    }
    if high >> 32 == 0x2001_0000 {
        return Some([high as u32, !(low as u32)]);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn both_edges_of_every_range() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("224.0.0.0", "239.255.255.255"),
            ("240.0.0.0", "255.255.255.255"),
            ("168.63.129.16", "168.63.129.16"),
            ("::", "::ffff:ffff"),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert!(covers(&address(first)), "{first}");
            assert!(covers(&address(last)), "{last}");
        }
    }

    #[test]
    fn neighbours_of_the_ranges_are_free() {
        for free in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "168.63.129.15",
            "168.63.129.17",
            "::1:0:0",
            "fbff:ffff::",
            "fe00::",
            "fe7f:ffff::",
            "64:ff9a:ffff::",
            "64:ff9b::1.2.3.4",
            "64:ff9b:2::",
            "2606:4700::1",
        ] {
            assert!(!covers(&address(free)), "{free}");
        }
    }

    #[test]
    fn embedded_addresses_are_found() {
        let ten = u32::from_be_bytes([10, 1, 2, 3]);
        assert_eq!(embedded(&address("64:ff9b::10.1.2.3")), Some([ten, ten]));
        assert_eq!(embedded(&address("2002:0a01:0203::1")), Some([ten, ten]));
        let server = u32::from_be_bytes([192, 0, 2, 1]);
        assert_eq!(embedded(&address("2001:0:c000:201:0:0:f5fe:fdfc")), Some([server, ten]));
        assert_eq!(embedded(&address("2001:db8::1")), None);
        assert_eq!(embedded(&address("64:ff9b:1::1")), None);
    }
}
