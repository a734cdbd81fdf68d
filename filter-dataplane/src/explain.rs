//! A verdict on a made packet, by the program that is attached.
//!
//! The program runs under `BPF_PROG_TEST_RUN` on the loopback device, which no sandbox has and no packet of a sandbox comes
//! from. That device belongs to a shadow slot with the sandbox's attachment and the very policy that is in use, but with
//! counters of its own and without events; so nothing that anybody else sees changes.

use crate::hook::Hook;
use crate::instance::{Instance, LOOPBACK};
use crate::pins::Pins;
use crate::shared::Shared;
use crate::{Error, fail_point};
use aya::programs::{TestRun, TestRunOptions};
use filter_core::Reason;
use filter_core::abi::{self, SandboxFlags};

/// Slot that made packets are judged in; never given to a sandbox.
pub(crate) const SHADOW: u32 = abi::SHADOW;

/// The action that lets a packet go on.
const TCX_NEXT: i32 = -1;

/// Offset of the mark in `struct __sk_buff`.
const MARK_AT: usize = 8;
/// Offset of the device's index there.
const IFINDEX_AT: usize = 40;

/// What the kernel program said of a made packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Why.
    pub reason: Reason,
    /// Whether the program lets the packet go on.
    pub passes: bool,
}

/// What became of a packet that a program was run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The program's action: `TCX_NEXT` -1, `TCX_DROP` 2, `TCX_REDIRECT` 7.
    pub action: i32,
    /// The packet's mark after it.
    pub mark: u32,
    /// The packet after it, from the Ethernet header on.
    pub frame: Vec<u8>,
}

impl Outcome {
    /// Whether the packet goes on.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.action == TCX_NEXT
    }
}

pub(crate) fn judge(
    shared: &mut Shared,
    pins: &Pins,
    instance: &mut Instance,
    slot: u32,
    frame: &[u8],
) -> Result<Judgement, Error> {
    let judged = in_shadow(shared, instance, slot, frame);
    // Left alone, the shadow would lead to nodes that another policy may have by then.
    instance.release(LOOPBACK)?;
    shared.clear(pins, SHADOW)?;
    judged
}

fn in_shadow(shared: &mut Shared, instance: &mut Instance, slot: u32, frame: &[u8]) -> Result<Judgement, Error> {
    let empty = || Error::Empty { slot };
    let mut config = shared.sandbox(slot)?.ok_or_else(empty)?.config;
    config.events_per_second = 0;
    config.flags &= !(SandboxFlags::REJECT | SandboxFlags::ACCOUNTED);
    shared.shadow(slot, SHADOW, &config)?;
    instance.assign(LOOPBACK, SHADOW)?;
    fail_point("explain.assigned");
    let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
    let passes = instance.program(Hook::FromSandbox).test_run(options)?.return_value as i32 == TCX_NEXT;
    let counted = shared.counters(SHADOW)?.ok_or_else(empty)?;
    let reason = Reason::ALL.iter().copied().find(|reason| counted.packets(*reason) > 0).ok_or_else(empty)?;
    Ok(Judgement { reason, passes })
}

/// Runs a hook's program on a frame as if it had come by the device with this mark, with every effect of a real packet.
pub(crate) fn run(
    instance: &mut Instance,
    hook: Hook,
    ifindex: u32,
    mark: u32,
    frame: &[u8],
) -> Result<Outcome, Error> {
    /// More than any kernel's `struct __sk_buff`.
    const CONTEXT: usize = 256;
    /// More than an answer is longer than the packet.
    const ROOM: usize = 128;
    let context = context(ifindex, mark);
    let mut context_out = [0; CONTEXT];
    let mut frame_out = vec![0; frame.len() + ROOM];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut frame_out),
        ctx_in: Some(&context),
        ctx_out: Some(&mut context_out),
        ..TestRunOptions::new()
    };
    let result = instance.program(hook).test_run(options)?;
    frame_out.truncate(result.data_size_out as usize);
    let mut mark = [0; 4];
    mark.copy_from_slice(&context_out[MARK_AT..MARK_AT + 4]);
    Ok(Outcome { action: result.return_value as i32, mark: u32::from_ne_bytes(mark), frame: frame_out })
}

/// The front of a `struct __sk_buff` with a device and a mark; the kernel takes the rest as zero.
pub(crate) fn context(ifindex: u32, mark: u32) -> [u8; IFINDEX_AT + 4] {
    let mut context = [0; IFINDEX_AT + 4];
    context[MARK_AT..MARK_AT + 4].copy_from_slice(&mark.to_ne_bytes());
    context[IFINDEX_AT..].copy_from_slice(&ifindex.to_ne_bytes());
    context
}
