//! tc ingress of the host-side device: every packet that a sandbox sends.
//!
//! Attached through TCX (kernel 6.6), where a packet that passes goes on to the next program.

use crate::emit;
use crate::frame::Frame;
use crate::maps::{OVERFLOW, SANDBOXES, SLOTS};
use crate::tables::Slot;
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use filter_core::abi;
use filter_core::packet::Flow;
use filter_core::{Reason, Verdict, decide};

/// Lets the packet go on: `TCX_NEXT`, and `TC_ACT_UNSPEC` where there is no TCX.
const NEXT: i32 = TC_ACT_UNSPEC;
const DROP: i32 = TC_ACT_SHOT;

#[classifier]
pub fn from_sandbox(ctx: TcContext) -> i32 {
    // SAFETY: the context of a classifier is valid while it runs.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    let Some(slot) = slot_of(ifindex) else {
        emit::stray();
        return DROP;
    };
    let key = 0;
    let Some(sandbox) = SANDBOXES.get_value(slot, &key) else {
        emit::stray();
        return DROP;
    };
    let mut flow = Flow::default();
    let verdict = decide(&Frame::new(&ctx), &mut flow, sandbox, &Slot(slot));
    leave(&ctx, slot, sandbox, &flow, verdict)
}

/// The one exit: counts, tells of a denial, and turns the verdict into an action.
#[inline(always)]
fn leave(ctx: &TcContext, slot: u32, sandbox: &abi::SandboxConfig, flow: &Flow, verdict: Verdict) -> i32 {
    let Verdict { reason, .. } = verdict;
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(ctx, "slot {} reason {} generation {}", slot, reason.number(), verdict.generation);
    let length = ctx.len();
    emit::count(slot, reason, length);
    if reason.allows() {
        return NEXT;
    }
    emit::tell(slot, sandbox, flow, verdict, length);
    DROP
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

const _: () = assert!(abi::SLOTS.is_power_of_two() && Reason::FIRST_DENIAL > 0);
