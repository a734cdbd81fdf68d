//! From a packet's device to its sandbox.

use crate::emit;
use crate::maps::{OVERFLOW, SANDBOXES, SLOTS};
use aya_ebpf::programs::TcContext;
use filter_core::abi::{self, SandboxConfig};

/// The sandbox of the device that a packet is on.
pub struct Attachment {
    /// Its index in the arrays of maps.
    pub slot: u32,
    /// What is known of it.
    pub sandbox: &'static SandboxConfig,
}

impl Attachment {
    /// Finds the sandbox; counts a stray when there is none.
    #[inline(always)]
    pub fn of(ctx: &TcContext) -> Option<Attachment> {
        // SAFETY: the context of a classifier is valid while it runs.
        let ifindex = unsafe { (*ctx.skb.skb).ifindex };
        let key = 0;
        let found =
            slot_of(ifindex).and_then(|slot| Some(Attachment { slot, sandbox: SANDBOXES.get_value(slot, &key)? }));
        if found.is_none() {
            emit::stray();
        }
        found
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
