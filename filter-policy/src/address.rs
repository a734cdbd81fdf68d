//! Addresses and prefixes as people write them.
//!
//! Invariant: one spelling, one meaning. No octal, hexadecimal or shortened IPv4, no zone, no sign, no white space; host bits
//! of a CIDR are dropped, a bare address is a prefix of full length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use filter_core::Address;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Why a text is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The part before the `/`, or the whole, is no address.
    #[error("not an IPv4 or IPv6 address")]
    Address,
    /// The part after the `/` is no length of a prefix of that family.
    #[error("not a prefix length: {max} is the most and only digits count")]
    Length {
        /// The longest prefix of the family.
        max: u8,
    },
}

/// The prefix that `text` means: a CIDR, or a bare address.
///
/// # Errors
/// When `text` is neither.
pub fn prefix(text: &str) -> Result<IpNet, AddressError> {
    written(text).map(|(_, net)| net)
}

/// The address before the `/` as it was written, and the prefix that `text` means.
///
/// # Errors
/// When `text` is neither a CIDR nor a bare address.
pub fn written(text: &str) -> Result<(IpAddr, IpNet), AddressError> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| AddressError::Address)?;
    let max = if address.is_ipv4() { 32 } else { 128 };
    let bits = match length {
        None => max,
        Some(length) => prefix_length(length).filter(|bits| *bits <= max).ok_or(AddressError::Length { max })?,
    };
    let net = IpNet::new(address, bits).map_err(|_| AddressError::Length { max })?;
    Ok((address, net.trunc()))
}

/// Whether `net` lies in `::ffff:0:0/96`, the range that stands for IPv4 and is never seen in a real IPv6 packet.
#[must_use]
pub fn is_mapped(net: &IpNet) -> bool {
    match net {
        IpNet::V4(_) => false,
        IpNet::V6(net) => net.prefix_len() >= 96 && Address::new(net.addr().octets()).is_v4(),
    }
}

/// Whether `net` is `0.0.0.0/0`, which in a list means all traffic of both families.
#[must_use]
pub fn is_all_traffic(net: &IpNet) -> bool {
    matches!(net, IpNet::V4(v4) if v4.prefix_len() == 0)
}

/// All of IPv4.
#[must_use]
pub fn all_v4() -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0))
}

/// All of IPv6.
#[must_use]
pub fn all_v6() -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0))
}

/// One to three digits without a leading zero.
fn prefix_length(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, meaning) in [
            ("8.8.8.8", "8.8.8.8/32"),
            ("8.8.8.8/24", "8.8.8.0/24"),
            ("1.2.3.4/0", "0.0.0.0/0"),
            ("255.255.255.255", "255.255.255.255/32"),
            ("2001:DB8::1/32", "2001:db8::/32"),
            ("::", "::/128"),
            ("::/0", "::/0"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4/128"),
        ] {
            assert_eq!(prefix(text).unwrap().to_string(), meaning, "{text}");
        }
    }

    #[test]
    fn refuses_every_other_spelling() {
        for text in [
            "",
            " ",
            "/",
            "/8",
            "10",
            "10.0.0",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "08.8.8.8",
            "0x8.8.8.8",
            "0x08080808",
            "134744072",
            " 8.8.8.8",
            "8.8.8.8 ",
            "8.8.8.8\n",
            "+8.8.8.8",
            "8.8.8.8.",
            "٨.8.8.8",
            "fe80::1%eth0",
            "[::1]",
            ":::",
            "::1::",
            "12345::",
            "example.com",
        ] {
            assert_eq!(prefix(text), Err(AddressError::Address), "{text:?}");
        }
        for text in [
            "10.0.0.0/",
            "10.0.0.0/ 8",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/0x8",
            "10.0.0.0/256",
            "10.0.0.0/4294967304",
            "10.0.0.0/٨",
            "10.0.0.0/00",
        ] {
            assert_eq!(prefix(text), Err(AddressError::Length { max: 32 }), "{text:?}");
        }
        assert_eq!(prefix("::/129"), Err(AddressError::Length { max: 128 }));
    }

    #[test]
    fn knows_the_mapped_range() {
        for (text, mapped) in
            [("::ffff:0:0/96", true), ("::ffff:1.2.3.4", true), ("::/0", false), ("::/95", false), ("1.2.3.4", false)]
        {
            assert_eq!(is_mapped(&prefix(text).unwrap()), mapped, "{text}");
        }
    }
}
