//! Sandboxes that are cgroups (cgroup v2): which sockets are theirs ([`sockets`]), where these connect and send to ([`addresses`]), and what
//! they send and receive ([`packets`]).
//!
//! These programs run with interrupts on, and those of devices may come in between on the same CPU: nothing of theirs is touched here but the
//! counters, by one instruction.

mod addresses;
mod packets;
mod sockets;
mod walk;

use crate::atomic::add;
use crate::emit;
#[expect(deprecated, reason = "what is newer is of Linux 6.2")]
use aya_ebpf::btf_maps::CgroupStorage;
use aya_ebpf::macros::btf_map;
use filter_core::Reason;
use filter_core::abi::{self, CgroupEntry, Counter, Sandbox, SocketTag};

/// Makes a call fail with `EPERM`, or ends a packet.
pub const REFUSE: i32 = 0;
pub const ALLOW: i32 = 1;

/// The sandbox of the cgroup that a program is attached to, whichever cgroup below it a socket is in.
#[btf_map]
#[expect(deprecated, reason = "as above")]
static CGROUPS: CgroupStorage<CgroupEntry> = CgroupStorage::new();

/// The sandbox of a cgroup.
pub struct Attached {
    pub entry: CgroupEntry,
    pub sandbox: &'static Sandbox,
}

impl Attached {
    /// Finds it; `None` before it is told, and when its slot is empty.
    #[inline(always)]
    pub fn find() -> Option<Attached> {
        // SAFETY: the kernel keeps a value for as long as the program is attached, and replaces it as a whole.
        let entry = unsafe { *CGROUPS.get_ptr_mut() };
        if entry.slot == abi::SHADOW {
            return None;
        }
        Some(Attached { entry, sandbox: crate::maps::sandbox(entry.slot)? })
    }

    /// What tells its sockets from others.
    #[inline(always)]
    pub fn tag(&self) -> SocketTag {
        SocketTag { slot: self.entry.slot, incarnation: self.sandbox.config.incarnation }
    }
}

/// Counts something that a sandbox sends, and its bytes.
#[inline(always)]
pub fn count_sent(slot: u32, reason: Reason, length: u32) {
    let bytes = if reason.allows() { Counter::BytesAllowed } else { Counter::BytesDenied };
    count(slot, u32::from(reason.number()), bytes, length);
}

/// Counts something that it receives.
#[inline(always)]
pub fn count_received(slot: u32, reason: Reason, length: u32) {
    if reason.allows() {
        count(slot, Counter::InboundAllowed as u32, Counter::InboundBytes, length);
    } else {
        count(slot, u32::from(reason.number()), Counter::BytesDenied, length);
    }
}

#[inline(always)]
fn count(slot: u32, packets: u32, bytes: Counter, length: u32) {
    let only = 0;
    let Some(rows) = crate::maps::COUNTERS.get_value_ptr_mut(slot, &only) else { return };
    let packets = emit::opaque(packets);
    // SAFETY: the helper returned a live element.
    unsafe {
        if let Some(packets) = (*rows).0.get_mut(packets as usize) {
            add(packets, 1);
        }
        add(&raw mut (*rows).0[bytes as usize], u64::from(length));
    }
}
