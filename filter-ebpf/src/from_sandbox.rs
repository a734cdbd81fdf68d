//! tc ingress of the host-side device: every packet that a sandbox sends.
//!
//! Attached through TCX (kernel 6.6), where a packet that passes goes on to the next program.

use crate::attachment::Attachment;
use crate::checksum::Summed;
use crate::flows::{self, Way};
use crate::frame::Frame;
use crate::hand_over::{carry_on, hand_over};
use crate::judged::{Judged, judged};
use crate::plain::{InPlace, Policy};
use crate::{DROP, NEXT, checksum, connections, emit, neighbour, reject};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use filter_core::abi::Sandbox;
use filter_core::decide;
use filter_core::decide::plain::{self, Head};
use filter_core::{Reason, Verdict};

#[classifier]
pub fn from_sandbox(ctx: TcContext) -> i32 {
    match pass_plain(ctx.skb.skb) {
        Some(Summed::Well) => NEXT,
        Some(Summed::Cut) => walk_from_sandbox(ctx.skb.skb, 1),
        None => walk_from_sandbox(ctx.skb.skb, 0),
    }
}

/// Lets a plain packet pass that the lists allow, unless a device would change it.
#[inline(always)]
fn pass_plain(skb: *mut __sk_buff) -> Option<Summed> {
    let attachment = Attachment::of(skb)?;
    let Attachment { slot, sandbox: Sandbox { config, policy } } = attachment;
    let head = InPlace::new(skb);
    let allowed = plain::from_sandbox(&head, config, &Policy { slot, first: policy })?;
    let length = head.length();
    if let Summed::Cut = checksum::of_plain(skb, &allowed.packet)? {
        return Some(Summed::Cut);
    }
    #[cfg(feature = "record")]
    crate::record::write_plain(&attachment, &allowed, true);
    #[cfg(feature = "slow")]
    if crate::slow::dawdle(&allowed.packet.destination) {
        return None;
    }
    emit::count_sent(slot, allowed.reason, length);
    Some(Summed::Well)
}

/// The whole way, a function of its own: what nearly all packets run lies close together then. `cut` is not 0 when the packet was cut.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_from_sandbox(skb: *mut __sk_buff, cut: u32) -> i32 {
    let ctx = &TcContext::new(skb);
    let frame = Frame::new(ctx);
    let Some(Judged { attachment: Attachment { slot, sandbox: Sandbox { config, .. } }, flow, verdict }) =
        judged(ctx, |flow, sandbox, walk| decide(&frame, flow, sandbox, walk))
    else {
        return DROP;
    };
    let verdict = if cut != 0 { checksum::deny(verdict) } else { checksum::judge(ctx, &frame, flow, verdict) };
    let verdict = flows::apply(slot, flow, Way::FromSandbox, verdict);
    if matches!(verdict.reason, Reason::GatewayArp | Reason::GatewayNeighbour) {
        neighbour::learn(flow, slot, 0);
    }
    let mut action = NEXT;
    let verdict = if matches!(verdict.reason, Reason::SidecarUnavailable) {
        action = hand_over(skb, flow, config, slot);
        if action == DROP { verdict } else { Verdict { reason: Reason::HandedOver, ..verdict } }
    } else if verdict.reason.is_listed()
        && config.may_be_carried(flow.protocol, flow.destination_port, flow.tcp_flags)
        && carry_on(skb, flow, config) != 0
    {
        Verdict { reason: Reason::HandedOver, ..verdict }
    } else {
        verdict
    };

    // The one exit.
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(
        ctx,
        "from slot {} reason {} generation {}",
        slot,
        verdict.reason.number(),
        verdict.generation
    );
    #[cfg(feature = "record")]
    crate::record::write(slot, flow, verdict.word(), 1);
    let length = ctx.len();
    connections::account(slot, config, flow, Way::FromSandbox, verdict, length);
    emit::count_outbound(slot, verdict.reason, length);
    if verdict.reason.allows() {
        return action;
    }
    emit::tell(slot, config, flow, verdict.word(), length);
    reject::reply(skb, flow, config, slot, u32::from(verdict.reason.number()))
}
