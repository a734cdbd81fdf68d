//! Adding to what others may add to at the same time. The target has no such operation in the language.

use core::arch::asm;

/// Adds to a word, by one instruction.
///
/// # Safety
/// It must lead to a word of a map's element.
#[inline(always)]
pub unsafe fn add(to: *mut u64, amount: u64) {
    // SAFETY: as the caller's.
    unsafe {
        asm!("lock *(u64 *)({to} + 0) += {amount}", to = in(reg) to, amount = in(reg) amount, options(nostack, preserves_flags));
    }
}
