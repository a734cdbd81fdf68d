//! Which blocks of addresses have a living protected prefix in them.
//!
//! Most addresses that a sandbox sends to are in a block without one, and need no search in the tries.

use crate::Address;

/// A block of IPv4 addresses is a /16, one of IPv6 addresses is all /48 with the same folded number. A bit for each, IPv4 first.
pub const BLOCK_WORDS: u32 = 2 * V6_FIRST / 64;

const V6_FIRST: u32 = 1 << 16;

/// Number of an address's block, below 2^17.
#[inline(always)]
#[must_use]
pub const fn block(address: &Address) -> u32 {
    let (high, low) = address.words();
    if address.is_v4() {
        return low as u32 >> 16;
    }
    let folded = (high >> 48) ^ (high >> 32) ^ (high >> 16);
    V6_FIRST | folded as u32 & (V6_FIRST - 1)
}

/// Blocks that have an address of a prefix in them; `bits` as for [`Prefix::new`](super::Prefix::new). Those of short IPv6 prefixes are
/// all of IPv6.
#[must_use]
pub const fn blocks(address: &Address, bits: u32) -> core::ops::Range<u32> {
    const V4_BITS: u32 = 96 + 16;
    const V6_BITS: u32 = 48;
    if address.is_v4() && bits >= 96 {
        let first = block(address);
        return first..first + (1 << V4_BITS.saturating_sub(bits));
    }
    if bits < V6_BITS {
        return V6_FIRST..2 * V6_FIRST;
    }
    let only = block(address);
    only..only + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn an_address_of_a_prefix_is_in_one_of_its_blocks() {
        for (prefix, bits, inside) in [
            ("203.0.113.0", 96 + 24, "203.0.113.9"),
            ("10.0.0.0", 96 + 8, "10.255.1.1"),
            ("0.0.0.0", 96, "255.255.255.255"),
            ("2001:db8:1::", 64, "2001:db8:1::9"),
            ("2001:db8::", 32, "2001:db8:ffff::9"),
            ("::", 0, "ffff::1"),
        ] {
            let blocks = blocks(&address(prefix), bits);
            assert!(blocks.contains(&block(&address(inside))), "{inside} in {prefix}");
            assert!(blocks.end <= BLOCK_WORDS * 64);
        }
    }

    #[test]
    fn most_addresses_are_elsewhere() {
        assert!(!blocks(&address("203.0.113.0"), 120).contains(&block(&address("203.1.113.9"))));
        assert!(!blocks(&address("2001:db8:1::"), 64).contains(&block(&address("2001:db8:2::9"))));
        assert!(!blocks(&address("::"), 0).contains(&block(&address("203.0.113.9"))), "IPv6 has no IPv4 address in it");
    }
}
