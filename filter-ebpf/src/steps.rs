//! The steps of the decision as functions that the verifier follows once each.
//!
//! A global function is verified apart from its callers, for any arguments of its types (Linux 5.6; pointers to memory 5.12). So the
//! paths of the steps add up and do not multiply. Arguments are numbers, the context, and pointers to what is as large as its type
//! says; a result is one number.

use crate::flows;
use crate::frame::Frame;
use crate::maps::scratch;
use crate::tables::{Nodes, Walk};
use aya_ebpf::bindings::__sk_buff;
use filter_core::abi::{FlowKey, PolicyValue, Sandbox, SandboxConfig};
use filter_core::decide::{self as steps, flow, inbound, remote};
use filter_core::packet::{self, Flow, Source};
use filter_core::{Address, FlowChange, Reason, Remote, Steps, Verdict};

impl Steps for Walk<'_> {
    #[inline(always)]
    fn parse<S: Source>(&self, _: &S, flow: &mut Flow) -> Result<(), Reason> {
        reason(parse(self.skb, flow)).map_or(Ok(()), Err)
    }

    #[inline(always)]
    fn sender<S: Source>(&self, _: &S, flow: &mut Flow, sandbox: &SandboxConfig) -> Option<Reason> {
        reason(sender(self.skb, flow, sandbox))
    }

    #[inline(always)]
    fn receiver<S: Source>(&self, _: &S, flow: &mut Flow, sandbox: &SandboxConfig) -> Option<Reason> {
        reason(receiver(self.skb, flow, sandbox))
    }

    #[inline(always)]
    fn remote(&self, remote: &Remote) -> Verdict {
        let (high, low) = remote.address.words();
        Verdict::from_word(judge(self.pointer(), high, low, remote.word()))
    }

    #[inline(always)]
    fn inbound_change(&self, flow: &Flow, state: u32) -> Option<FlowChange> {
        FlowChange::from_word(inbound_change(flow, state, self.slot))
    }

    #[inline(always)]
    fn follow(&self, flow: &Flow, sandbox: &SandboxConfig) -> FlowChange {
        FlowChange::from_word(follow(flow, sandbox, self.slot)).unwrap_or_default()
    }

    #[inline(always)]
    fn quoted<S: Source>(&self, _: &S, flow: &Flow, inner: &mut Flow) -> bool {
        quoted(self.skb, flow, inner) != 0
    }

    #[inline(always)]
    fn answer<S: Source>(&self, _: &S, flow: &Flow, sandbox: &SandboxConfig) -> Option<FlowChange> {
        FlowChange::from_word(answer(self.skb, flow, quoted_here(), sandbox, self.slot))
    }

    #[inline(always)]
    fn error_about_own<S: Source>(&self, _: &S, flow: &Flow, _: &SandboxConfig) -> Option<Reason> {
        reason(error_about_own(self.skb, flow, quoted_here(), self.pointer(), self.slot))
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn parse(skb: *mut __sk_buff, flow: *mut Flow) -> u32 {
    // SAFETY: the verifier makes sure that the pointer is null or leads to a whole value; nobody else has it meanwhile.
    let Some(flow) = (unsafe { flow.as_mut() }) else {
        return u32::from(Reason::MalformedIp.number());
    };
    number(packet::parse(&Frame { skb }, flow).err())
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sender(skb: *mut __sk_buff, flow: *mut Flow, sandbox: *const SandboxConfig) -> u32 {
    // SAFETY: as in `parse`.
    let (Some(flow), Some(sandbox)) = (unsafe { (flow.as_mut(), sandbox.as_ref()) }) else {
        return u32::from(Reason::NoPolicy.number());
    };
    number(steps::sender(&Frame { skb }, flow, sandbox))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn receiver(skb: *mut __sk_buff, flow: *mut Flow, sandbox: *const SandboxConfig) -> u32 {
    // SAFETY: as in `parse`.
    let (Some(flow), Some(sandbox)) = (unsafe { (flow.as_mut(), sandbox.as_ref()) }) else {
        return u32::from(Reason::InboundDenied.number());
    };
    number(inbound::receiver(&Frame { skb }, flow, sandbox))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn inbound_change(flow: *const Flow, state: u32, slot: u32) -> u64 {
    // SAFETY: as in `parse`.
    let Some(flow) = (unsafe { flow.as_ref() }) else {
        return 0;
    };
    FlowChange::word(inbound::change(flow, state, &Walk { slot, sandbox: None, skb: core::ptr::null_mut() }))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn follow(flow: *const Flow, sandbox: *const SandboxConfig, slot: u32) -> u64 {
    // SAFETY: as in `parse`.
    let (Some(flow), Some(sandbox)) = (unsafe { (flow.as_ref(), sandbox.as_ref()) }) else {
        return 0;
    };
    FlowChange::word(Some(flow::follow(flow, sandbox, &Walk { slot, sandbox: None, skb: core::ptr::null_mut() })))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn quoted(skb: *mut __sk_buff, flow: *const Flow, inner: *mut Flow) -> u32 {
    // SAFETY: as in `parse`.
    let (Some(flow), Some(inner)) = (unsafe { (flow.as_ref(), inner.as_mut()) }) else {
        return 0;
    };
    u32::from(packet::quoted(&Frame { skb }, flow, inner))
}

/// The state of a flow; all ones for none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn flow_state(key: *const FlowKey, slot: u32) -> u64 {
    // SAFETY: as in `parse`.
    let state = unsafe { key.as_ref() }.and_then(|key| flows::state(slot, &flows::on_stack(key)));
    state.map_or(u64::MAX, u64::from)
}

/// A [`PolicyValue::word`], or 0 without a policy.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn search(sandbox: *const Sandbox, high: u64, low: u64) -> u64 {
    // SAFETY: as in `parse`.
    let Some(Sandbox { policy, .. }) = (unsafe { sandbox.as_ref() }) else {
        return 0;
    };
    let address = Address::from_words(high, low);
    PolicyValue::find(&Nodes::of(policy), policy, &address).map_or(0, PolicyValue::word)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge(sandbox: *const Sandbox, high: u64, low: u64, remote: u32) -> u64 {
    // SAFETY: as in `parse`. What judges an address asks for no flow.
    let walk = Walk { slot: 0, sandbox: unsafe { sandbox.as_ref() }, skb: core::ptr::null_mut() };
    remote::judge(&Remote::from_word(Address::from_words(high, low), remote), &walk).word()
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer(
    skb: *mut __sk_buff,
    flow: *const Flow,
    inner: *mut Flow,
    sandbox: *const SandboxConfig,
    slot: u32,
) -> u64 {
    // SAFETY: as in `parse`.
    let (Some(flow), Some(sandbox), Some(inner)) = (unsafe { (flow.as_ref(), sandbox.as_ref(), inner.as_mut()) })
    else {
        return 0;
    };
    FlowChange::word(flow::answer(&Frame { skb }, flow, inner, sandbox, &Walk { slot, sandbox: None, skb }))
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn error_about_own(
    skb: *mut __sk_buff,
    flow: *const Flow,
    inner: *mut Flow,
    sandbox: *const Sandbox,
    slot: u32,
) -> u32 {
    // SAFETY: as in `parse`.
    let (Some(flow), Some(sandbox), Some(inner)) = (unsafe { (flow.as_ref(), sandbox.as_ref(), inner.as_mut()) })
    else {
        return 0;
    };
    number(inbound::error_about_own(
        &Frame { skb },
        flow,
        inner,
        &sandbox.config,
        &Walk { slot, sandbox: Some(sandbox), skb },
    ))
}

/// Where the packet that an error quotes is kept, by the programs of devices.
#[inline(always)]
fn quoted_here() -> *mut Flow {
    scratch().map_or(core::ptr::null_mut(), |scratch| &raw mut scratch.quoted)
}

#[inline(always)]
fn number(reason: Option<Reason>) -> u32 {
    reason.map_or(0, |reason| u32::from(reason.number()))
}

#[inline(always)]
fn reason(number: u32) -> Option<Reason> {
    Reason::from_number(number as u8)
}
