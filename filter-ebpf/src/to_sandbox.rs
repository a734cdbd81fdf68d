//! tc egress of the host-side device: every packet that is about to reach a sandbox.
//!
//! Attached through TCX (kernel 6.6), where a packet that passes goes on to the next program.

use crate::attachment::Attachment;
use crate::flows::{self, Way};
use crate::frame::Frame;
use crate::judged::{Judged, judged};
use crate::plain::{InPlace, Policy};
use crate::{DROP, NEXT, connections, emit, neighbour};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use filter_core::abi::Sandbox;
use filter_core::decide::plain::{self, Head};
use filter_core::{Reason, decide_inbound};

#[classifier]
pub fn to_sandbox(ctx: TcContext) -> i32 {
    // SAFETY: the context of a classifier is valid while it runs.
    let mark = unsafe { (*ctx.skb.skb).mark };
    pass_plain(ctx.skb.skb, mark).map_or_else(|| walk_to_sandbox(ctx.skb.skb, mark), |()| NEXT)
}

/// Lets a plain packet pass that the lists allow.
// The record takes room on the stack.
#[cfg_attr(not(feature = "record"), inline(always))]
#[cfg_attr(feature = "record", inline(never))]
fn pass_plain(skb: *mut __sk_buff, mark: u32) -> Option<()> {
    let attachment = Attachment::of(skb)?;
    let Attachment { slot, sandbox: Sandbox { config, policy } } = attachment;
    let head = InPlace::new(skb);
    #[cfg_attr(
        not(feature = "record"),
        expect(unused_variables, reason = "towards the sandbox only a record tells the reason")
    )]
    let allowed = plain::to_sandbox(&head, mark, config, &Policy { slot, first: policy })?;
    #[cfg(feature = "record")]
    crate::record::write_plain(&attachment, &allowed, false);
    emit::count_received(slot, head.length());
    Some(())
}

/// The whole way, a function of its own as in the other direction.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_to_sandbox(skb: *mut __sk_buff, mark: u32) -> i32 {
    let ctx = &TcContext::new(skb);
    let frame = Frame::new(ctx);
    let Some(Judged { attachment: Attachment { slot, sandbox: Sandbox { config, .. } }, flow, verdict }) =
        judged(ctx, |flow, sandbox, walk| decide_inbound(&frame, flow, mark, sandbox, walk))
    else {
        return DROP;
    };
    let verdict = flows::apply(slot, flow, Way::ToSandbox, verdict);

    // The one exit.
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(ctx, "to slot {} reason {} generation {}", slot, verdict.reason.number(), verdict.generation);
    #[cfg(feature = "record")]
    crate::record::write(slot, flow, verdict.word(), 0);
    let length = ctx.len();
    connections::account(slot, config, flow, Way::ToSandbox, verdict, length);
    emit::count_inbound(slot, verdict.reason, length);
    if matches!(verdict.reason, Reason::GatewayArp | Reason::GatewayNeighbour) {
        return neighbour::answer_for(skb, flow, slot);
    }
    if verdict.reason == Reason::SealedNeighbour {
        let answered = neighbour::answer_for(skb, flow, slot);
        if answered != NEXT {
            return answered;
        }
    }
    if verdict.reason.allows() {
        return NEXT;
    }
    emit::tell(slot, config, flow, verdict.word(), length);
    DROP
}
