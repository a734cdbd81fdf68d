//! The flow table of a sandbox: connections that came in.

use crate::maps::FLOWS;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use filter_core::abi::{FlowKey, FlowValue};
use filter_core::{FlowChange, Reason, Verdict};

/// State of a flow that has not been idle for too long.
#[inline(always)]
pub fn state(slot: u32, key: &FlowKey) -> Option<u32> {
    let value = FLOWS.get(slot)?.get_ptr(key)?;
    // SAFETY: the helper returned a live element; reads the clock.
    let (expires, state, now) = unsafe { ((*value).expires, (*value).state, bpf_ktime_get_ns()) };
    (expires > now).then_some(state)
}

/// Does to the flow table what a verdict says. A connection that finds the table full is denied unless the lists allow it.
#[inline(always)]
pub fn apply(slot: u32, key: Option<FlowKey>, verdict: Verdict) -> Verdict {
    if matches!(verdict.change, FlowChange::None) {
        return verdict;
    }
    let (Some(key), Some(flows)) = (key, FLOWS.get(slot)) else {
        return without_room(verdict);
    };
    match verdict.change {
        FlowChange::None => {}
        FlowChange::Close => drop(flows.remove(key)),
        FlowChange::Open(state) | FlowChange::Touch(state) => {
            // SAFETY: reads the clock.
            let expires = unsafe { bpf_ktime_get_ns() } + FlowValue::idle(key.protocol, state);
            if flows.insert(key, FlowValue { expires, state, pad: 0 }, 0).is_err() {
                return without_room(verdict);
            }
        }
    }
    verdict
}

#[inline(always)]
fn without_room(verdict: Verdict) -> Verdict {
    let reason = if verdict.reason.is_listed() { verdict.reason } else { Reason::FlowTableFull };
    Verdict { reason, change: FlowChange::None, ..verdict }
}
