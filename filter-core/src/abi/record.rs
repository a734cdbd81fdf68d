//! What a test build of the kernel program tells of every packet.

use crate::Address;

/// A judged packet. Only a program that is built to record writes this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Record {
    /// When the verdict was known, in nanoseconds of the monotonic clock.
    pub ktime: u64,
    /// How many packets this CPU had judged before.
    pub sequence: u64,
    /// Destination address; zero when the packet was not understood that far.
    pub destination: Address,
    /// The CPU.
    pub cpu: u32,
    /// Slot of the sandbox.
    pub slot: u32,
    /// Generation of the policy that judged, or 0 when none was asked.
    pub generation: u32,
    /// Source port, or 0.
    pub source_port: u16,
    /// Destination port, or 0.
    pub destination_port: u16,
    /// Number of the [`Reason`](crate::Reason).
    pub reason: u8,
    /// 1 for a packet from the sandbox, 0 for one towards it.
    pub from_sandbox: u8,
    /// Zero.
    pub pad: [u8; 6],
}

/// Length of the ring of records in bytes, a power of two and a multiple of the page size: a million records.
pub const RECORD_RING_BYTES: u32 = 1 << 26;

/// Rows of the recording program's per-CPU array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Recorded {
    /// Packets that were judged.
    Judged,
    /// Records that found the ring full.
    Lost,
}

const _: () = assert!(size_of::<Record>() == 16 + 16 + 12 + 4 + 8);
