//! tc ingress of a bridge with sandboxes at its ports, and of the loopback device where cgroups are sandboxes: what their programs hand over
//! ([`filter_core::abi::carried()`]).

use crate::hand_over::assign;
use crate::maps::{sandbox, scratch};
use crate::plain::InPlace;
use crate::{DROP, NEXT, emit, steps};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_skb_change_type;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use filter_core::decide::plain::Head;
use filter_core::{Reason, abi};

/// `PACKET_HOST`: for this host.
const FOR_THIS_HOST: u32 = 0;

#[classifier]
pub fn from_bridge(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    let head = InPlace::new(skb);
    if !head.holds(6) {
        return NEXT;
    }
    // SAFETY: the context of a classifier is valid while it runs.
    let (ifindex, priority) = unsafe { ((*skb).ifindex, (*skb).priority) };
    let slot = match ifindex {
        abi::LOOPBACK => abi::prioritised_slot(priority),
        _ => abi::carried_slot(head.four::<0>(), head.two::<4>()),
    };
    match slot {
        Some(slot) => take(skb, slot),
        None => NEXT,
    }
}

/// Gives a packet to its socket.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn take(skb: *mut __sk_buff, slot: u32) -> i32 {
    let (Some(sandbox), Some(scratch)) = (sandbox(slot), scratch()) else {
        return DROP;
    };
    let config = &sandbox.config;
    // SAFETY: the context of a classifier is valid while it runs.
    let (mark, bridge, length) = unsafe { ((*skb).mark, (*skb).ifindex, (*skb).len) };
    // Only the program of a port of this bridge writes the mark, or who may set marks anyway.
    if mark & config.mark_mask != config.capture_mark || bridge != config.bridge {
        return DROP;
    }
    if steps::parse(skb, &mut scratch.flow) != 0 || assign(skb, &scratch.flow, slot) == 0 {
        emit::count_outbound(slot, Reason::SidecarUnavailable, length);
        return DROP;
    }
    // SAFETY: the helper takes any context.
    match unsafe { bpf_skb_change_type(skb, FOR_THIS_HOST) } {
        0 => NEXT,
        _ => DROP,
    }
}
