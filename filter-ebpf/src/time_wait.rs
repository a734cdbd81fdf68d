//! A new connection with the addresses and ports of one that has ended lately, whose side here still waits (`TCP_TIME_WAIT`, RFC 9293, section
//! 3.6.1): the kernel lets the listener have it at once, if it finds that. It looks by the packet's destination, where the sandbox's listener is
//! not: this program tells it (`BPF_PROG_TYPE_SK_LOOKUP`, kernel 5.9).

use crate::hand_over::listener;
use crate::maps::TIME_WAIT;
use crate::tuple::{self, Tuple};
use aya_ebpf::bindings::bpf_sk_lookup;
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_sk_assign, bpf_sk_release};
use aya_ebpf::macros::sk_lookup;
use aya_ebpf::programs::SkLookupContext;

/// `AF_INET`.
const INET: u32 = 2;
/// The kernel looks as it always does.
const PASS: u32 = 1;
/// Nanoseconds between handing over a packet and its search for a listener, on the same CPU without a break: at the most.
const AT_ONCE: u64 = 1_000_000;

/// The packet that this CPU has just handed over, which asks for a connection where there was one.
#[repr(C)]
pub struct Handed {
    tuple: Tuple,
    /// When, by the monotonic clock; nanoseconds.
    at: u64,
    /// The device that it came by.
    ifindex: u32,
    /// Whose listener is to have it.
    slot: u32,
}

/// Remembers the packet at hand.
#[inline(always)]
pub fn handed(tuple: &Tuple, ifindex: u32, slot: u32) {
    if let Some(handed) = TIME_WAIT.get_ptr_mut(0) {
        // SAFETY: nobody else uses this CPU's element while a program runs; the helper has no conditions.
        unsafe { *handed = Handed { tuple: *tuple, at: bpf_ktime_get_ns(), ifindex, slot } };
    }
}

#[sk_lookup]
pub fn after_time_wait(ctx: SkLookupContext) -> u32 {
    let Some(handed) = TIME_WAIT.get_ptr_mut(0) else {
        return PASS;
    };
    // SAFETY: as in `handed`; the context is valid while the program runs.
    let (handed, lookup) = unsafe { (&mut *handed, &*ctx.lookup) };
    if handed.at == 0 || handed.ifindex != lookup.ingress_ifindex || handed.tuple != tuple_of(lookup) {
        return PASS;
    }
    // SAFETY: the helper has no conditions.
    let is_fresh = unsafe { bpf_ktime_get_ns() } - handed.at < AT_ONCE;
    handed.at = 0;
    if is_fresh {
        let socket = listener(handed.slot, lookup.family == INET);
        if !socket.is_null() {
            // SAFETY: a socket that was looked up, and is let go of here.
            unsafe {
                bpf_sk_assign(ctx.lookup.cast(), socket, 0);
                bpf_sk_release(socket);
            }
        }
    }
    PASS
}

#[inline(always)]
fn tuple_of(lookup: &bpf_sk_lookup) -> Tuple {
    // Each field by itself and in any case: the verifier knows them by where they are in the context.
    macro_rules! read {
        ($field:expr) => {
            // SAFETY: a field of a context that is valid.
            unsafe { (&raw const $field).read_volatile() }
        };
    }
    let (remote4, local4) = (read!(lookup.remote_ip4), read!(lookup.local_ip4));
    let (remote6, local6) = (&lookup.remote_ip6, &lookup.local_ip6);
    let remote6 = [read!(remote6[0]), read!(remote6[1]), read!(remote6[2]), read!(remote6[3])];
    let local6 = [read!(local6[0]), read!(local6[1]), read!(local6[2]), read!(local6[3])];
    let ports = tuple::ports(u16::from_be(lookup.remote_port), lookup.local_port as u16);
    match lookup.family {
        INET => Tuple::v4(remote4, local4, ports),
        _ => Tuple::v6(remote6, local6, ports),
    }
}
