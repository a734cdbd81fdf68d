//! A verdict on a made packet, by the program that is attached.
//!
//! The program runs under `BPF_PROG_TEST_RUN` on the loopback device, which no sandbox has and no packet of a sandbox comes
//! from. That device belongs to a shadow slot with the sandbox's attachment and the very policy that is in use, but with
//! counters of its own and without events; so nothing that anybody else sees changes.

use crate::instance::Instance;
use crate::shared::Shared;
use crate::{Counters, Error};
use aya::programs::{TestRun, TestRunOptions};
use filter_core::Reason;

/// Slot that made packets are judged in; never given to a sandbox.
pub(crate) const SHADOW: u32 = 0;

/// Index of the loopback device in every namespace, which a test run takes when it is told no other.
const LOOPBACK: u32 = 1;

/// What the kernel program said of a made packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Why.
    pub reason: Reason,
    /// Whether the program lets the packet go on.
    pub passes: bool,
}

pub(crate) fn judge(shared: &mut Shared, instance: &mut Instance, slot: u32, frame: &[u8]) -> Result<Judgement, Error> {
    let mut config = shared.config(slot)?.ok_or(Error::Full)?;
    config.events_per_second = 0;
    shared.set_config(SHADOW, &config)?;
    shared.copy_policy(slot, SHADOW)?;
    shared.reset_counters(SHADOW)?;
    instance.assign(LOOPBACK, SHADOW)?;
    let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
    let result = instance.program().test_run(options);
    instance.release(LOOPBACK)?;
    let passes = result?.return_value as i32 == -1;
    let counted = shared.counters(SHADOW)?.ok_or(Error::Full)?;
    let reason = counted_reason(&counted).ok_or(Error::Full)?;
    Ok(Judgement { reason, passes })
}

fn counted_reason(counters: &Counters) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|reason| counters.packets(*reason) > 0)
}
