//! The flow table of a sandbox: connections that came in.

use crate::maps::FLOWS;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use filter_core::abi::{FlowKey, FlowValue};
use filter_core::packet::Flow;
use filter_core::{FlowChange, Reason, Verdict, inbound_key, outbound_key};

/// State of a flow that has not been idle for too long.
#[inline(always)]
pub fn state(slot: u32, key: &FlowKey) -> Option<u32> {
    let value = FLOWS.get(slot)?.get_ptr(key)?;
    // SAFETY: the helper returned a live element; reads the clock.
    let (expires, state, now) = unsafe { ((*value).expires, (*value).state, bpf_ktime_get_ns()) };
    (expires > now).then_some(state)
}

/// A key on the stack: before Linux 6.2 a map takes none from memory that a function of its own was handed.
#[inline(always)]
pub fn on_stack(key: &FlowKey) -> FlowKey {
    // SAFETY: reads a value; in a way that the compiler leaves as it is.
    unsafe { core::ptr::read_volatile(key) }
}

/// Does to the flow table what a verdict on a packet says. A connection that finds the table full is denied unless the lists allow
/// it.
#[inline(always)]
pub fn apply(slot: u32, flow: &Flow, way: Way, verdict: Verdict) -> Verdict {
    if matches!(verdict.change, FlowChange::None)
        || change(flow, slot, FlowChange::word(Some(verdict.change)), way as u32) == 0
    {
        return verdict;
    }
    without_room(verdict)
}

/// The direction of a packet.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Way {
    FromSandbox,
    ToSandbox,
}

/// 0 when the change was made.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn change(flow: *const Flow, slot: u32, change: u64, way: u32) -> u32 {
    // SAFETY: the verifier makes sure that the pointer is null or leads to a whole value.
    let Some(flow) = (unsafe { flow.as_ref() }) else {
        return 1;
    };
    let key = if way == Way::ToSandbox as u32 { inbound_key(flow) } else { outbound_key(flow) };
    let (Some(key), Some(flows), Some(change)) = (key, FLOWS.get(slot), FlowChange::from_word(change)) else {
        return 1;
    };
    match change {
        FlowChange::None => {}
        FlowChange::Close => drop(flows.remove(key)),
        FlowChange::Open(state) | FlowChange::Touch(state) => {
            // SAFETY: reads the clock.
            let expires = unsafe { bpf_ktime_get_ns() } + FlowValue::idle(key.protocol, state);
            if flows.insert(key, FlowValue { expires, state, pad: 0 }, 0).is_err() {
                return 1;
            }
        }
    }
    0
}

#[inline(always)]
fn without_room(verdict: Verdict) -> Verdict {
    let reason = if verdict.reason.is_listed() { verdict.reason } else { Reason::FlowTableFull };
    Verdict { reason, change: FlowChange::None, ..verdict }
}
