//! One 128-bit address space for both families.

use core::cmp::Ordering;

/// An IPv6 address, or an IPv4 address as `::ffff:a.b.c.d`: sixteen bytes in network order.
///
/// Kept as two words, so that the kernel program never takes them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Address([u64; 2]);

/// Bits of the prefix that marks an IPv4 address.
pub const V4_PREFIX_BITS: u32 = 96;

impl Address {
    /// The unspecified IPv6 address.
    pub const UNSPECIFIED: Address = Address([0; 2]);

    /// The address of sixteen bytes in network order.
    #[inline(always)]
    #[must_use]
    pub const fn new([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]: [u8; 16]) -> Address {
        let word = u64::from_ne_bytes;
        Address([word([a, b, c, d, e, f, g, h]), word([i, j, k, l, m, n, o, p])])
    }

    /// An IPv4 address, four bytes in network order.
    #[inline(always)]
    #[must_use]
    pub const fn v4(bytes: [u8; 4]) -> Address {
        Address::from_words(0, 0xffff << 32 | u32::from_be_bytes(bytes) as u64)
    }

    /// Its sixteen bytes in network order.
    #[inline(always)]
    #[must_use]
    pub const fn octets(&self) -> [u8; 16] {
        let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) = (self.0[0].to_ne_bytes(), self.0[1].to_ne_bytes());
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// The high and low 64 bits, in host order.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> (u64, u64) {
        (u64::from_be(self.0[0]), u64::from_be(self.0[1]))
    }

    /// The address of [`Self::words`].
    #[inline(always)]
    #[must_use]
    pub const fn from_words(high: u64, low: u64) -> Address {
        Address([high.to_be(), low.to_be()])
    }

    /// Whether this stands for an IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        let (high, low) = self.words();
        high == 0 && low >> 32 == 0xffff
    }

    /// The last 32 bits in host order: the IPv4 address, if [`Self::is_v4`].
    #[inline(always)]
    #[must_use]
    pub const fn low32(&self) -> u32 {
        self.words().1 as u32
    }
}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Address) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Address) -> Ordering {
        self.words().cmp(&other.words())
    }
}

impl From<core::net::IpAddr> for Address {
    fn from(ip: core::net::IpAddr) -> Address {
        match ip {
            core::net::IpAddr::V4(v4) => Address::v4(v4.octets()),
            core::net::IpAddr::V6(v6) => Address::new(v6.octets()),
        }
    }
}

impl From<Address> for core::net::IpAddr {
    fn from(address: Address) -> core::net::IpAddr {
        if address.is_v4() {
            core::net::IpAddr::V4(address.low32().into())
        } else {
            core::net::IpAddr::V6(address.octets().into())
        }
    }
}
