//! What the loader tells the program of the kernel that it runs on.

/// Where fields of the kernel's `struct sk_buff` lie. They differ from kernel to kernel. All in one word: the program has few registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct SkbLayout(pub u64);

impl SkbLayout {
    /// Nothing is known, or the kernel does not give a program its own view of a packet (before Linux 6.2).
    pub const UNKNOWN: SkbLayout = SkbLayout(0);

    const BITS: u32 = 12;
    const MASK: u64 = (1 << Self::BITS) - 1;

    /// By places in bytes from the structure's beginning, and the lowest of the two bits of `ip_summed` in its byte; `None` when one
    /// does not fit.
    #[must_use]
    pub fn new(summed: u32, bit: u32, checksum_start: u32, checksum_offset: u32, head: u32, data: u32) -> Option<Self> {
        let places = [summed, checksum_start, checksum_offset, head, data];
        if bit > 6 || places.iter().any(|place| u64::from(*place) > Self::MASK) {
            return None;
        }
        let word = places.iter().fold(u64::from(bit), |word, place| word << Self::BITS | u64::from(*place));
        Some(SkbLayout(word))
    }

    /// Byte with `ip_summed`: how much of the checksum is done.
    #[inline(always)]
    #[must_use]
    pub const fn summed(self) -> u64 {
        self.place(4)
    }

    /// Its lowest bit there.
    #[inline(always)]
    #[must_use]
    pub const fn summed_bit(self) -> u64 {
        self.0 >> (5 * Self::BITS)
    }

    /// `csum_start`, two bytes: where a checksum that is left to a device begins, from `head` on.
    #[inline(always)]
    #[must_use]
    pub const fn checksum_start(self) -> u64 {
        self.place(3)
    }

    /// `csum_offset`, two bytes: where it is written, from there on.
    #[inline(always)]
    #[must_use]
    pub const fn checksum_offset(self) -> u64 {
        self.place(2)
    }

    /// `head`, a pointer: where the packet's memory begins.
    #[inline(always)]
    #[must_use]
    pub const fn head(self) -> u64 {
        self.place(1)
    }

    /// `data`, a pointer: where the frame begins.
    #[inline(always)]
    #[must_use]
    pub const fn data(self) -> u64 {
        self.place(0)
    }

    #[inline(always)]
    const fn place(self, nth: u32) -> u64 {
        self.0 >> (nth * Self::BITS) & Self::MASK
    }
}

/// The number by which the program calls `bpf_cast_to_kern_ctx`. No helper has it: the loader puts the function's own in its place.
pub const CAST_TO_KERNEL: u32 = 0x7fff_0001;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let layout = SkbLayout::new(128, 5, 136, 138, 192, 4095).expect("they fit");
        let places = [layout.summed(), layout.summed_bit(), layout.checksum_start(), layout.checksum_offset()];
        assert_eq!(places, [128, 5, 136, 138]);
        assert_eq!((layout.head(), layout.data()), (192, 4095));
        assert_eq!(SkbLayout::new(4096, 5, 136, 138, 192, 200), None);
        assert_eq!(SkbLayout::new(128, 7, 136, 138, 192, 200), None);
    }
}
