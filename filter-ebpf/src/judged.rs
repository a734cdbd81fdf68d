//! A walk.

use crate::attachment::Attachment;
use crate::maps::scratch;
use crate::tables::Walk;
use aya_ebpf::programs::TcContext;
use filter_core::Verdict;
use filter_core::abi::SandboxConfig;
use filter_core::packet::Flow;

/// A packet, whose it is, and the verdict on it.
pub struct Judged {
    pub attachment: Attachment,
    pub flow: &'static mut Flow,
    pub verdict: Verdict,
}

/// Judges a packet; `None` when it belongs to no sandbox.
///
/// The attachment and every search of the policy are of one generation: what is found at first is in force until the program ends, because
/// the kernel lets go of it only a grace period after it has been replaced.
#[inline(always)]
pub fn judged(ctx: &TcContext, walk: impl Fn(&mut Flow, &SandboxConfig, &Walk) -> Verdict) -> Option<Judged> {
    let skb = ctx.skb.skb;
    let attachment = Attachment::or_stray(skb)?;
    let Attachment { slot, sandbox } = attachment;
    let flow = &mut scratch()?.flow;
    clear(flow);
    let verdict = walk(flow, &sandbox.config, &Walk { slot, sandbox: Some(sandbox), skb });
    Some(Judged { attachment, flow, verdict })
}

/// Makes it [`Flow::default`], in words: the compiler would call a function that goes byte by byte.
#[inline(always)]
fn clear(flow: &mut Flow) {
    const WORDS: usize = size_of::<Flow>() / size_of::<u64>();
    let words: *mut u64 = (&raw mut *flow).cast();
    for at in 0..WORDS {
        // SAFETY: it is inside, aligned, and all fields may be zero.
        unsafe { words.add(at).write_volatile(0) };
    }
}

const _: () = assert!(size_of::<Flow>().is_multiple_of(size_of::<u64>()) && align_of::<Flow>() == align_of::<u64>());
