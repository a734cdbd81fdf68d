//! ABI types as map values.

use filter_core::abi::{
    CgroupEntry, ConnectionKey, ConnectionValue, FlowKey, FlowValue, LivingValue, PlacedSandbox, Rows, Sandbox,
    SlotEntry,
};
use filter_core::table::Node;

/// A type of the ABI in a form that aya copies to and from the kernel.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct Pod<T>(pub T);

// SAFETY: the ABI's types are `repr(C)` with explicit padding, and any bit pattern is a value of them.
unsafe impl aya::Pod for Pod<SlotEntry> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<Sandbox> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<Node> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<PlacedSandbox> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<LivingValue> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<FlowKey> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<FlowValue> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<Rows> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<CgroupEntry> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<ConnectionKey> {}
// SAFETY: as above.
unsafe impl aya::Pod for Pod<ConnectionValue> {}
