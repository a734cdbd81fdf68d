//! From a packet's device to its sandbox.

use crate::emit;
use crate::maps::{OVERFLOW, SLOTS, sandbox};
use aya_ebpf::bindings::__sk_buff;
use filter_core::abi::{self, Sandbox};

/// The sandbox of the device that a packet is on.
pub struct Attachment {
    /// Its index in the arrays of maps.
    pub slot: u32,
    /// What the packet is judged by: also when another one takes its place meanwhile.
    pub sandbox: &'static Sandbox,
}

impl Attachment {
    /// Finds the sandbox.
    #[inline(always)]
    pub fn of(skb: *const __sk_buff) -> Option<Attachment> {
        let slot = slot_of(skb)?;
        Some(Attachment { slot, sandbox: sandbox(slot)? })
    }

    /// Finds the sandbox; counts a stray when there is none.
    #[inline(always)]
    pub fn or_stray(skb: *const __sk_buff) -> Option<Attachment> {
        let found = Attachment::of(skb);
        if found.is_none() {
            emit::stray();
        }
        found
    }
}

/// The slot of a device. The array answers for all but the devices whose place another one has.
#[inline(always)]
fn slot_of(skb: *const __sk_buff) -> Option<u32> {
    // SAFETY: the context of a classifier is valid while it runs.
    let ifindex = unsafe { (*skb).ifindex };
    let entry = SLOTS.get(ifindex & (abi::SLOTS - 1))?;
    if entry.ifindex == ifindex {
        return Some(entry.slot);
    }
    let entry = OVERFLOW.get_ptr(ifindex)?;
    // SAFETY: the helper returned a live element.
    Some(unsafe { (*entry).slot })
}

const _: () = assert!(abi::SLOTS.is_power_of_two());
