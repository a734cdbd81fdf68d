//! One 128-bit address space for both families.

/// An IPv6 address, or an IPv4 address as `::ffff:a.b.c.d`. Bytes are in network order.
///
/// Aligned to 8 so that the kernel program copies and compares it in words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C, align(8))]
pub struct Address(pub [u8; 16]);

/// Bits of the prefix that marks an IPv4 address.
pub const V4_PREFIX_BITS: u32 = 96;

impl Address {
    /// The unspecified IPv6 address.
    pub const UNSPECIFIED: Address = Address([0; 16]);

    /// An IPv4 address, four bytes in network order.
    #[inline(always)]
    #[must_use]
    pub const fn v4(a: [u8; 4]) -> Address {
        Address([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a[0], a[1], a[2], a[3]])
    }

    /// The high and low 64 bits, in host order.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> (u64, u64) {
        let a = &self.0;
        (
            u64::from_be_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]),
            u64::from_be_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]),
        )
    }

    /// The address of [`Self::words`].
    #[inline(always)]
    #[must_use]
    pub const fn from_words(high: u64, low: u64) -> Address {
        let (h, l) = (high.to_be_bytes(), low.to_be_bytes());
        Address([h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7]])
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

impl From<core::net::IpAddr> for Address {
    fn from(ip: core::net::IpAddr) -> Address {
        match ip {
            core::net::IpAddr::V4(v4) => Address::v4(v4.octets()),
            core::net::IpAddr::V6(v6) => Address(v6.octets()),
        }
    }
}

impl From<Address> for core::net::IpAddr {
    fn from(address: Address) -> core::net::IpAddr {
        if address.is_v4() {
            core::net::IpAddr::V4(address.low32().into())
        } else {
            core::net::IpAddr::V6(address.0.into())
        }
    }
}
