//! From a packet's device to its sandbox.

use crate::emit;
use crate::maps::{OVERFLOW, POLICIES, SANDBOXES, SLOTS};
use aya_ebpf::programs::TcContext;
use filter_core::abi::{self, SandboxConfig};
use filter_core::table::HEADER;

/// The sandbox of the device that a packet is on.
pub struct Attachment {
    /// Its index in the arrays of maps.
    pub slot: u32,
    /// Generation of the policy that the packet is judged by; 0 without one.
    pub generation: u32,
    /// What is known of the sandbox under that policy.
    pub sandbox: &'static SandboxConfig,
}

impl Attachment {
    /// Finds the sandbox; counts a stray when there is none.
    #[inline(always)]
    pub fn of(ctx: &TcContext) -> Option<Attachment> {
        // SAFETY: the context of a classifier is valid while it runs.
        let ifindex = unsafe { (*ctx.skb.skb).ifindex };
        let found = slot_of(ifindex).and_then(Attachment::in_slot);
        if found.is_none() {
            emit::stray();
        }
        found
    }

    #[inline(always)]
    fn in_slot(slot: u32) -> Option<Attachment> {
        let generation = POLICIES.get(slot).and_then(|table| table.get(HEADER)).map_or(0, |header| header.keys[0]);
        let sandboxes = SANDBOXES.get(slot)?;
        let (first, next) = (sandboxes.get(0)?, sandboxes.get(1)?);
        let sandbox = if next.since != 0 && next.since <= generation { next } else { first };
        Some(Attachment { slot, generation, sandbox })
    }
}

/// The slot of a device. The array answers for all but the devices whose place another one has.
#[inline(always)]
fn slot_of(ifindex: u32) -> Option<u32> {
    let entry = SLOTS.get(ifindex & (abi::SLOTS - 1))?;
    if entry.ifindex == ifindex {
        return Some(entry.slot);
    }
    let entry = OVERFLOW.get_ptr(ifindex)?;
    // SAFETY: the helper returned a live element.
    Some(unsafe { (*entry).slot })
}

const _: () = assert!(abi::SLOTS.is_power_of_two());
