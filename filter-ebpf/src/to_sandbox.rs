//! tc egress of the host-side device: every packet that is about to reach a sandbox.
//!
//! Attached through TCX (kernel 6.6), where a packet that passes goes on to the next program.

use crate::attachment::Attachment;
use crate::flows::{self, Way};
use crate::frame::Frame;
use crate::maps::scratch;
use crate::tables::Walk;
use crate::{DROP, NEXT, emit};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use filter_core::decide_inbound;
use filter_core::packet::Flow;

#[classifier]
pub fn to_sandbox(ctx: TcContext) -> i32 {
    let (Some(Attachment { slot, sandbox }), Some(scratch)) = (Attachment::of(&ctx), scratch()) else {
        return DROP;
    };
    let flow = &mut scratch.flow;
    *flow = Flow::default();
    // SAFETY: the context of a classifier is valid while it runs.
    let mark = unsafe { (*ctx.skb.skb).mark };
    let verdict = decide_inbound(&Frame::new(&ctx), flow, mark, sandbox, &Walk { slot, skb: ctx.skb.skb });
    let verdict = flows::apply(slot, flow, Way::ToSandbox, verdict);

    // The one exit.
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(&ctx, "to slot {} reason {} generation {}", slot, verdict.reason.number(), verdict.generation);
    #[cfg(feature = "record")]
    crate::record::write(slot, flow, verdict, false);
    let length = ctx.len();
    emit::count_inbound(slot, verdict.reason, length);
    if verdict.reason.allows() {
        return NEXT;
    }
    emit::tell(slot, sandbox, flow, verdict.word(), length);
    DROP
}
