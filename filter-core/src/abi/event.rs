//! What the kernel tells of a denial.

use crate::Address;

/// A denied packet, as written to the ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// When, in nanoseconds of the monotonic clock.
    pub ktime: u64,
    /// Source address; zero when the packet was not understood that far.
    pub source: Address,
    /// Destination address; zero when the packet was not understood that far.
    pub destination: Address,
    /// Slot of the sandbox.
    pub slot: u32,
    /// Incarnation of the attachment, so that a reused slot's events are told apart.
    pub incarnation: u32,
    /// Generation of the policy that judged, or 0 when the denial came before the policy.
    pub generation: u32,
    /// Length of the packet in bytes, link-layer header included.
    pub length: u32,
    /// Ethertype, behind a priority tag; 0 when the frame was too short to have one.
    pub ethertype: u16,
    /// Source port, or 0.
    pub source_port: u16,
    /// Destination port, or 0; for ICMP the type in the high and the code in the low byte.
    pub destination_port: u16,
    /// IP protocol, or 0.
    pub protocol: u8,
    /// Number of the [`Reason`](crate::Reason).
    pub reason: u8,
    /// Bits of [`EventFlags`].
    pub flags: u32,
    /// Zero.
    pub pad: u32,
}

/// Bits of [`Event::flags`].
pub struct EventFlags;

impl EventFlags {
    /// `source` and `destination` are set.
    pub const ADDRESSES: u32 = 1 << 0;
    /// `source_port` and `destination_port` are set.
    pub const PORTS: u32 = 1 << 1;
}

const _: () = assert!(size_of::<Event>() == 8 + 32 + 16 + 8 + 8);
