//! Values of the two address tables.

use crate::Reason;

/// Value of a policy's LPM trie: the whole answer of the lists for an address.
///
/// Keys are 128-bit prefixes with IPv4 as `::ffff:0:0/96`. A trie always holds `::/0` and `::ffff:0:0/96`, so a lookup that
/// finds nothing means a broken policy and denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PolicyValue {
    /// Generation of the policy; the same in every entry of one trie.
    pub generation: u32,
    /// Number of the [`Reason`] that the lists give: allowed by default, allowed by list, or address denied.
    pub reason: u8,
    /// A [`Capture`](super::Capture), the same in every entry of one trie.
    pub capture: u8,
    /// Bits of [`PolicyFlags`].
    pub flags: u8,
    /// Zero.
    pub pad: u8,
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
}

/// Value of a namespace's table of living protected prefixes.
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

const _: () = assert!(size_of::<PolicyValue>() == 8 && align_of::<PolicyValue>() == 4);
const _: () = assert!(size_of::<LivingValue>() == 4);
