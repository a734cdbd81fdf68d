//! From a packet's device to its sandbox.

use crate::emit;
use crate::maps::{OVERFLOW, POLICIES, SANDBOXES, SLOTS};
use crate::plain::Policy;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use filter_core::abi::{self, SandboxConfig};
use filter_core::table::Page;

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
        let found = slot_of(ctx.skb.skb).and_then(|slot| match policy(slot) {
            Some(first) => Attachment::under(slot, first),
            // Nothing says which.
            None => Attachment::at(slot, 0, 0).or(Attachment::at(slot, 1, 0)),
        });
        if found.is_none() {
            emit::stray();
        }
        found
    }

    /// Finds the sandbox and its policy, where there are both.
    #[inline(always)]
    pub fn with_policy(skb: *const __sk_buff) -> Option<(Attachment, Policy)> {
        let slot = slot_of(skb)?;
        let first = policy(slot)?;
        Some((Attachment::under(slot, first)?, Policy { slot, first }))
    }

    #[inline(always)]
    fn under(slot: u32, policy: &Page) -> Option<Attachment> {
        Attachment::at(slot, policy.attachment(), policy.generation())
    }

    #[inline(always)]
    fn at(slot: u32, which: u32, generation: u32) -> Option<Attachment> {
        let sandbox = SANDBOXES.get(abi::place(slot, which))?.get(ONLY)?;
        Some(Attachment { slot, generation, sandbox })
    }
}

/// The first page of a slot's policy.
#[inline(always)]
pub fn policy(slot: u32) -> Option<&'static Page> {
    POLICIES.get(slot)?.get(ONLY)
}

/// Index of what is alone in its map.
const ONLY: u32 = 0;

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
