//! Elements of maps that begin where their parts lie in lines of the processor's cache.
//!
//! The kernel puts its own data before the first element of an array, more or less of it from version to version. So an element has
//! room for some bytes before what it holds; the loader tells the program how many they are here ([`LEAD`](super::LEAD)).

use super::Sandbox;
use crate::table::Page;

/// Bytes of a line; an element of many takes a multiple of it.
const LINE: usize = 64;

/// The most bytes before what an element holds. All are multiples of eight.
pub const MOST_LEAD: usize = LINE - size_of::<u64>();

/// A [`Sandbox`] with some bytes before it, in an array of one.
pub type PlacedSandbox = [u64; (MOST_LEAD + size_of::<Sandbox>()) / size_of::<u64>()];

/// A [`Page`] with some bytes before it, in an array of many.
pub type PlacedPage = [u64; (MOST_LEAD + size_of::<Page>()).next_multiple_of(LINE) / size_of::<u64>()];

/// The lead in an array whose elements begin so many bytes behind a line's beginning.
#[must_use]
pub const fn lead(elements: usize) -> u32 {
    if elements.is_multiple_of(size_of::<u64>()) { (elements.next_multiple_of(LINE) - elements) as u32 } else { 0 }
}

const _: () = assert!(size_of::<PlacedSandbox>() == 56 + 704 + 704 && size_of::<PlacedPage>() == 704);
const _: () = assert!(lead(312) == 8 && lead(272) == 48 && lead(320) == 0);
