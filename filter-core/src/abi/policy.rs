//! What the two address tables say.

use crate::table::{self, First, Nodes};
use crate::{Address, Reason};

/// What a policy says of an address, from one search of its [`table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyValue {
    /// Generation of the policy.
    pub generation: u32,
    /// Number of the [`Reason`] that the lists give: allowed by default, allowed by list, or address denied.
    pub reason: u8,
    /// A [`Capture`](super::Capture), the same for all addresses of one policy.
    pub capture: u8,
    /// Bits of [`PolicyFlags`].
    pub flags: u8,
}

impl PolicyValue {
    const BY_DEFAULT: u8 = Reason::AllowedByDefault as u8;
    const LISTED: u8 = Reason::AllowedByList as u8;
    const REASON_BITS: u8 = 2;

    /// Searches a table from its beginning on; `None` when it is empty, broken, or of no generation.
    #[inline(always)]
    #[must_use]
    pub fn find<N: Nodes + ?Sized>(nodes: &N, first: &First, address: &Address) -> Option<PolicyValue> {
        if address.is_v4() {
            Self::find_in::<N, true>(nodes, first, address)
        } else {
            Self::find_in::<N, false>(nodes, first, address)
        }
    }

    /// [`Self::find`] for an address whose family is known.
    #[inline(always)]
    #[must_use]
    pub fn find_in<N: Nodes + ?Sized, const V4: bool>(
        nodes: &N,
        first: &First,
        address: &Address,
    ) -> Option<PolicyValue> {
        let (generation, capture) = (first.generation(), first.capture());
        if generation == 0 {
            return None;
        }
        let answer = table::find::<N, V4>(nodes, first, address)?;
        let reason = match answer & 3 {
            Self::LISTED => Reason::AllowedByList,
            Self::BY_DEFAULT => Reason::AllowedByDefault,
            _ => Reason::AddressDenied,
        };
        Some(PolicyValue { generation, reason: reason.number(), capture, flags: answer >> Self::REASON_BITS })
    }

    /// All in one number, which is never 0.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        (self.generation as u64) << 32 | (self.flags as u64) << 16 | (self.capture as u64) << 8 | self.reason as u64
    }

    /// The value of a [`Self::word`]; `None` of 0.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Option<PolicyValue> {
        if word == 0 {
            return None;
        }
        let (generation, flags) = ((word >> 32) as u32, (word >> 16) as u8);
        Some(PolicyValue { generation, reason: word as u8, capture: (word >> 8) as u8, flags })
    }

    /// The answer as a table holds it: two bits of what allows, 0 for a denial, then the flags.
    #[must_use]
    pub const fn answer(reason: Reason, flags: u8) -> u8 {
        let reason = match reason {
            Reason::AllowedByList => Self::LISTED,
            Reason::AllowedByDefault => Self::BY_DEFAULT,
            _ => 0,
        };
        reason | flags << Self::REASON_BITS
    }
}

/// Bits of [`PolicyValue::flags`].
pub struct PolicyFlags;

impl PolicyFlags {
    /// The operator opened this address: the fixed and the host's protected ranges do not deny it (a sandbox's still do).
    pub const OPENED: u8 = 1 << 0;
    /// A configured nameserver: its port 53 is not protected.
    pub const NAMESERVER: u8 = 1 << 1;
    /// A configured nameserver of a policy with names: its port 53 is allowed whatever the lists say.
    pub const NAMESERVER_ALLOWED: u8 = 1 << 2;
    /// Of IPv4 addresses that the lists allow: a fixed range covers it.
    pub const PROTECTED: u8 = 1 << 3;
}

/// Value of the tables of living protected prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LivingValue {
    /// Number of the [`Reason`] with which the prefix denies.
    pub reason: u32,
}

impl LivingValue {
    /// The value of a prefix that denies with `reason`.
    #[must_use]
    pub const fn new(reason: Reason) -> LivingValue {
        LivingValue { reason: reason as u32 }
    }
}

const _: () = assert!(PolicyValue::BY_DEFAULT < 4 && PolicyValue::LISTED < 4 && PolicyFlags::PROTECTED << 2 <= 0x80);
const _: () = assert!(size_of::<LivingValue>() == 4);
