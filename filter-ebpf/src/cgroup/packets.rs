//! What sockets of a cgroup send and receive: `cgroup_skb` (kernel 4.10). A packet begins with its IP header.

use super::walk::CgroupWalk;
use super::{ALLOW, Attached, REFUSE, count_received, count_sent};
use crate::emit;
use crate::flows::{self, Way};
use crate::frame::Frame;
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use filter_core::abi::Sandbox;
use filter_core::packet::Flow;
use filter_core::{decide_received, decide_sent};

#[cgroup_skb(egress)]
pub fn from_cgroup(ctx: SkBuffContext) -> i32 {
    judge(&ctx, Way::FromSandbox)
}

#[cgroup_skb(ingress)]
pub fn to_cgroup(ctx: SkBuffContext) -> i32 {
    judge(&ctx, Way::ToSandbox)
}

#[inline(always)]
fn judge(ctx: &SkBuffContext, way: Way) -> i32 {
    let Some(attached) = Attached::find() else {
        return REFUSE;
    };
    let (slot, Sandbox { config, .. }) = (attached.entry.slot, attached.sandbox);
    let skb = ctx.skb.skb;
    let (mut flow, mut inner) = (Flow::default(), Flow::default());
    let walk = CgroupWalk::new(&attached, skb, &mut inner);
    let packet = Frame { skb };
    let verdict = match way {
        Way::FromSandbox => decide_sent(&packet, &mut flow, config, &walk),
        Way::ToSandbox => decide_received(&packet, &mut flow, config, &walk),
    };
    let verdict = flows::apply(slot, &flow, way, verdict);

    // The one exit.
    let length = ctx.len();
    match way {
        Way::FromSandbox => count_sent(slot, verdict.reason, length),
        Way::ToSandbox => count_received(slot, verdict.reason, length),
    }
    if verdict.reason.allows() {
        return ALLOW;
    }
    emit::tell(slot, config, &flow, verdict.word(), length);
    REFUSE
}
