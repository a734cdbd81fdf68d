//! An element of a map that begins where its parts lie in lines of the processor's cache.
//!
//! The kernel puts its own data before the first element of an array, more or less of it from version to version. So the element has
//! room for some bytes before what it holds; the loader tells the program how many they are here ([`LEAD`](super::LEAD)).

use super::Sandbox;

/// Bytes of a line.
const LINE: usize = 64;

/// The most bytes before what an element holds. All are multiples of eight.
pub const MOST_LEAD: usize = LINE - size_of::<u64>();

/// A [`Sandbox`] with some bytes before it, in an array of one.
pub type PlacedSandbox = [u64; (MOST_LEAD + size_of::<Sandbox>()) / size_of::<u64>()];

/// The lead in an array whose elements begin so many bytes behind a line's beginning.
#[must_use]
pub const fn lead(elements: usize) -> u32 {
    if elements.is_multiple_of(size_of::<u64>()) { (elements.next_multiple_of(LINE) - elements) as u32 } else { 0 }
}

const _: () = assert!(size_of::<PlacedSandbox>() == 56 + 704 + 704);
const _: () = assert!(lead(312) == 8 && lead(272) == 48 && lead(320) == 0);
