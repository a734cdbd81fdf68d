//! What elements of maps hold, where the program looks for it: [`abi::lead`] bytes behind their beginning.

use crate::kernel_types;
use crate::pod::Pod;
use filter_core::abi::{self, PlacedSandbox, Sandbox};

/// A type of the ABI that has an element of a map around it.
pub(crate) trait Placed: Copy {
    /// The element.
    type Element: Copy;
}

impl Placed for Sandbox {
    type Element = PlacedSandbox;
}

/// An element with this in it.
pub(crate) fn element<T: Placed>(value: &T) -> Pod<T::Element>
where
    Pod<T>: aya::Pod,
    Pod<T::Element>: aya::Pod,
{
    const { assert!(abi::MOST_LEAD + size_of::<T>() <= size_of::<T::Element>()) };
    // SAFETY: zeroes are a value of every type of the ABI, and there is room behind the most that the lead may be.
    unsafe {
        let mut element: T::Element = std::mem::zeroed();
        (&raw mut element).byte_add(kernel_types::lead() as usize).cast::<T>().write(*value);
        Pod(element)
    }
}

/// What is in an element.
pub(crate) fn value<T: Placed>(element: &Pod<T::Element>) -> T
where
    Pod<T>: aya::Pod,
    Pod<T::Element>: aya::Pod,
{
    // SAFETY: as in `element`; any bit pattern is a value. The lead is a multiple of what both are aligned to.
    unsafe { (&raw const element.0).byte_add(kernel_types::lead() as usize).cast::<T>().read() }
}
