//! A walk by one generation.

use crate::attachment::Attachment;
use crate::maps::scratch;
use crate::tables::Walk;
use aya_ebpf::programs::TcContext;
use filter_core::abi::SandboxConfig;
use filter_core::packet::Flow;
use filter_core::{Reason, Verdict};

/// A packet, whose it is, and the verdict on it.
pub struct Judged {
    pub attachment: Attachment,
    pub flow: &'static mut Flow,
    pub verdict: Verdict,
}

/// Judges a packet; `None` when it belongs to no sandbox.
///
/// The attachment and every search of the policy must be of one generation. A walk that a switch of policies overtakes finds no
/// policy of its own any more and starts again, by the newer one. Switches are a grace period apart, so once is enough; a packet that is
/// overtaken twice is denied.
#[inline(always)]
pub fn judged(ctx: &TcContext, walk: impl Fn(&mut Flow, &SandboxConfig, &Walk) -> Verdict) -> Option<Judged> {
    let first = once(ctx, &walk)?;
    if first.verdict.reason == Reason::NoPolicy { once(ctx, &walk) } else { Some(first) }
}

#[inline(always)]
fn once(ctx: &TcContext, walk: &impl Fn(&mut Flow, &SandboxConfig, &Walk) -> Verdict) -> Option<Judged> {
    let attachment = Attachment::of(ctx)?;
    let Attachment { slot, generation, sandbox, .. } = attachment;
    let flow = &mut scratch()?.flow;
    *flow = Flow::default();
    let verdict = walk(flow, sandbox, &Walk { slot, generation, skb: ctx.skb.skb });
    Some(Judged { attachment, flow, verdict })
}
