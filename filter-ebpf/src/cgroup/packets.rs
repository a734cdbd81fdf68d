//! What sockets of a cgroup send and receive: `cgroup_skb` (kernel 4.10). A packet begins with its IP header.

use super::walk::CgroupWalk;
use super::{ALLOW, Attached, REFUSE, count_received, count_sent};
use crate::connections;
use crate::emit;
use crate::flows::{self, Way};
use crate::frame::Frame;
use crate::plain::{InPlace, Policy};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_sk_fullsock;
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use filter_core::abi::{self, Sandbox, SandboxConfig};
use filter_core::decide::plain;
use filter_core::packet::Flow;
use filter_core::{Reason, Verdict, decide_received, decide_sent};

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
    if pass_plain(skb, slot, way as u32) != 0 {
        return ALLOW;
    }
    let (mut flow, mut inner) = (Flow::default(), Flow::default());
    let walk = CgroupWalk::new(&attached, skb, &mut inner);
    let packet = Frame { skb };
    let verdict = match way {
        Way::FromSandbox => decide_sent(&packet, &mut flow, config, &walk),
        // SAFETY: the context is valid while the program runs.
        Way::ToSandbox => decide_received(&packet, &mut flow, unsafe { (*skb).mark }, config, &walk),
    };
    let verdict = flows::apply(slot, &flow, way, verdict);
    let verdict = if matches!(verdict.reason, Reason::SidecarUnavailable) && hand_over(skb, config, slot) {
        Verdict { reason: Reason::HandedOver, ..verdict }
    } else {
        verdict
    };

    // The one exit.
    let length = ctx.len();
    connections::account(slot, config, &flow, way, verdict, length);
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

/// Lets a plain packet pass that the lists allow: not 0 when it does. A function of its own, so that the walk has the stack for itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn pass_plain(skb: *mut __sk_buff, slot: u32, way: u32) -> u32 {
    let Some(Sandbox { config, policy }) = crate::maps::sandbox(slot) else {
        return 0;
    };
    let (head, lists) = (InPlace::without_link(skb), Policy { slot, first: policy });
    // SAFETY: the context is valid while the program runs.
    let (length, mark) = unsafe { ((*skb).len, (*skb).mark) };
    let is_sent = way == Way::FromSandbox as u32;
    let allowed =
        if is_sent { plain::sent(&head, config, &lists) } else { plain::received(&head, mark, config, &lists) };
    match allowed {
        Some(allowed) if is_sent => count_sent(slot, allowed.reason, length),
        Some(allowed) => count_received(slot, allowed.reason, length),
        None => return 0,
    }
    1
}

/// Whether a packet goes to the sidecar: the hook of `connect` has marked its socket, and so it is about to leave by the loopback device, whose
/// program gives it to the sandbox's listener ([`crate::from_bridge`]). One of a raw socket does not.
#[inline(always)]
fn hand_over(skb: *mut __sk_buff, config: &SandboxConfig, slot: u32) -> bool {
    const STREAM: u32 = 1;
    // SAFETY: the context is valid while the program runs; a socket is null or one, of which all can be read that is whole.
    unsafe {
        let some = (*skb).__bindgen_anon_2.sk;
        let socket = if some.is_null() { some } else { bpf_sk_fullsock(some) };
        if socket.is_null() || (*socket).type_ != STREAM {
            return false;
        }
        let is_kept = (*skb).ifindex == abi::LOOPBACK && (*skb).mark & config.mark_mask == config.capture_mark;
        if is_kept {
            (*skb).priority = abi::carried_priority(slot);
        }
        is_kept
    }
}
