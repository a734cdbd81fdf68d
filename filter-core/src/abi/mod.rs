//! What the kernel program and userspace share: map keys, map values and events.
//!
//! Every type is `repr(C)` with explicit padding, without `bool`, `Option` or `enum`, so that any bit pattern is a value.
//! Integers are in host order, addresses ([`Address`](crate::Address), MAC) in network order. [`VERSION`] changes with every
//! change of a layout or of a meaning; a daemon that finds another version pinned leaves the maps alone.

mod blocks;
mod carried;
mod cgroup;
mod connection;
mod event;
mod flow;
mod kernel;
mod placed;
mod policy;
mod record;
mod sandbox;

pub use blocks::{BLOCK_WORDS, block, blocks};
pub use carried::{carried, carried_priority, carried_slot, prioritised_slot};
pub use cgroup::{CgroupEntry, SocketTag};
pub use connection::{CONNECTIONS, ConnectionEnd, ConnectionKey, ConnectionValue};
pub use event::{Event, EventFlags};
pub use flow::{FlowKey, FlowState, FlowValue};
pub use kernel::{CAST_TO_KERNEL, KERNEL_VIEW, KernelView, LEAD, READ_FIELD, SUMMED_BITS, SkbField};
pub use placed::{MOST_LEAD, PlacedSandbox, lead};
pub use policy::{LivingValue, PolicyFlags, PolicyValue};
pub use record::{RECORD_RING_BYTES, Record, Recorded};
pub use sandbox::{Mac, Prefix, Sandbox, SandboxConfig, SandboxFlags, SlotEntry};

/// Version of the layouts and meanings in this module.
pub const VERSION: u32 = 9;

/// Sandboxes that one daemon can hold: the length of the arrays of maps, which are indexed by slot.
pub const MAX_SANDBOXES: u32 = 16_384;

/// The slot that made packets are judged in; never a sandbox's.
pub const SHADOW: u32 = 0;

/// The slot of what the sidecar dials; never a sandbox's. Its policy denies nothing but what is protected.
pub const DIALS: u32 = 1;

/// Index of the loopback device in every network namespace.
pub const LOOPBACK: u32 = 1;

/// Nodes of policies that lie in one map, a power of two.
pub const CHUNK_NODES: u32 = 512;

/// Maps with nodes of policies: room for 33 million nodes in 2 GiB.
pub const CHUNKS: u32 = 65_536;

/// Length of a namespace's slot array, a power of two; the index is `ifindex & (SLOTS - 1)`.
pub const SLOTS: u32 = 8_192;

/// Connections that came in which one sandbox may have at a time, unless the operator says otherwise.
pub const FLOWS: u32 = 64;

/// Length of the event ring in bytes, a power of two and a multiple of the page size: some 9,000 events.
pub const EVENT_RING_BYTES: u32 = 1 << 20;

/// Listeners that packets are handed to: two a sandbox.
pub const LISTENERS: u32 = 2 * MAX_SANDBOXES;

/// Where the listener of a slot for a family is.
#[inline(always)]
#[must_use]
pub const fn listener(slot: u32, is_v4: bool) -> u32 {
    2 * slot + !is_v4 as u32
}

/// Rows of a sandbox's counters that hold packets by reason number.
pub const REASONS: u32 = 64;

/// Rows of a sandbox's per-CPU counters beside the packets by reason, which come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Bytes of packets from the sandbox that passed, link-layer header included. No reason has this number, and the rows of those that
    /// allow are beside it, in the same line of the processor's cache.
    BytesAllowed = 0,
    /// Bytes of packets that were denied in either direction, link-layer header included.
    BytesDenied = REASONS,
    /// Packets towards the sandbox that passed; the rows by reason count allowed packets from the sandbox only.
    InboundAllowed,
    /// Their bytes.
    InboundBytes,
    /// Events that were written to the ring.
    EventsSent,
    /// Events that the sandbox's rate limit held back.
    EventsSuppressed,
    /// Events that found the ring full.
    EventsLost,
    /// Event tokens left on this CPU, in thousandths.
    BucketTokens,
    /// When this CPU's tokens were last refilled, nanoseconds of the monotonic clock.
    BucketStamp,
    /// Denied packets that were answered by a reset or an ICMP error.
    RejectsSent,
    /// Answers that the sandbox's rate limit held back.
    RejectsSuppressed,
    /// Answer tokens left on this CPU, in thousandths.
    RejectTokens,
    /// When these were last refilled.
    RejectStamp,
}

/// Rows of a sandbox's counters.
pub const COUNTERS: u32 = REASONS + 12;

/// What a CPU has counted of a sandbox: packets by reason, then [`Counter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Rows(pub [u64; COUNTERS as usize]);

const _: () = assert!(size_of::<Rows>() == 608);

/// Which TCP connections from a sandbox are the sidecar's. Stored in the header of a policy's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Capture(pub u8);

impl Capture {
    /// None: the lists decide alone.
    pub const NONE: Capture = Capture(0);
    /// Those to ports 80 and 443 that the lists deny: names may allow them.
    pub const DENIED_WEB: Capture = Capture(1 << 0);
    /// Those to ports 80 and 443 that the lists allow: requests may get other headers.
    pub const ALLOWED_WEB: Capture = Capture(1 << 1);
    /// All that the lists allow: they go through a proxy.
    pub const ALLOWED_TCP: Capture = Capture(1 << 2);

    /// What both are about.
    #[must_use]
    pub const fn and(self, other: Capture) -> Capture {
        Capture(self.0 | other.0)
    }

    /// Whether this is about one of those that another is about.
    #[inline(always)]
    #[must_use]
    pub const fn meets(self, other: Capture) -> bool {
        self.0 & other.0 != 0
    }
}
