//! Prefixes that lie scattered over the address space, and random addresses in and between them.
//!
//! All by arithmetic: picking an address from a million prefixes touches no memory that the measured path would want in a cache.

use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// The first address; from here to 63.255.255.255 no range is protected.
const FIRST: u32 = u32::from_be_bytes([11, 0, 0, 0]);
/// Addresses in all cells together.
const SPAN: u32 = u32::from_be_bytes([46, 0, 0, 0]);
/// Addresses of a prefix.
const BLOCK: u32 = 256;
/// Addresses that are sent to in each: so few that a flow table has room for all of a thousand prefixes.
const HOSTS: u32 = 16;

/// So many `/24`s, one somewhere in each of as many equal cells; no two touch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    count: u32,
    cell: u32,
}

impl Spread {
    /// At most a million prefixes.
    pub(crate) fn new(count: u32) -> Spread {
        let cell = SPAN / count / BLOCK * BLOCK;
        assert!(cell >= 3 * BLOCK, "a cell has room for a prefix, a gap and a choice");
        Spread { count, cell }
    }

    /// The prefixes.
    pub(crate) fn prefixes(self) -> impl Iterator<Item = Ipv4Net> {
        (0..self.count).map(move |at| Ipv4Net::new(self.block(at).into(), 24).expect("24 is a length"))
    }

    /// An address in one of them.
    pub(crate) fn inside(self, random: &mut fastrand::Rng) -> Ipv4Addr {
        (self.block(random.u32(..self.count)) + host(random)).into()
    }

    /// An address in none of them.
    pub(crate) fn outside(self, random: &mut fastrand::Rng) -> Ipv4Addr {
        // The last block of a cell is never the prefix.
        (self.start(random.u32(..self.count)) + self.cell - BLOCK + host(random)).into()
    }

    fn start(self, at: u32) -> u32 {
        FIRST + at * self.cell
    }

    fn block(self, at: u32) -> u32 {
        let choices = self.cell / BLOCK - 1;
        let mixed = at.wrapping_mul(0x9e37_79b1) ^ at.wrapping_mul(0x85eb_ca6b) >> 15;
        self.start(at) + mixed % choices * BLOCK
    }
}

fn host(random: &mut fastrand::Rng) -> u32 {
    1 + random.u32(..HOSTS) * (BLOCK / HOSTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_prefix_touches_another_or_a_protected_range() {
        for count in [1_000, 1_000_000] {
            let spread = Spread::new(count);
            let mut end = 0;
            for prefix in spread.prefixes() {
                assert!(u32::from(prefix.network()) > end, "{prefix}");
                end = u32::from(prefix.broadcast()) + 1;
                assert!(!filter_core::protected::covers_v4(prefix.network().into()), "{prefix}");
            }
            assert!(end < u32::from_be_bytes([64, 0, 0, 0]));
        }
    }

    #[test]
    fn addresses_are_inside_and_outside() {
        let spread = Spread::new(1_000);
        let blocks: BTreeSet<u32> = spread.prefixes().map(|prefix| u32::from(prefix.network())).collect();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let block = |address: Ipv4Addr| u32::from(address) & !(BLOCK - 1);
            assert!(blocks.contains(&block(spread.inside(&mut random))));
            assert!(!blocks.contains(&block(spread.outside(&mut random))));
        }
    }
}
