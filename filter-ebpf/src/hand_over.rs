//! Hands a connection to the sidecar: the packet goes to a socket of the sandbox's own listener instead of its destination.
//!
//! The listener is assigned at tc ingress (`bpf_sk_assign`, kernel 5.7), the sockets of its connections are found by the host's stack; a routing
//! rule for the mark keeps the packet on this host. A port of a bridge sends it to the bridge device first ([`filter_core::abi::carried()`]).
//!
//! A socket of a connection is the sandbox's when it is bound to the device at hand: the listener is, and what comes of it inherits that from
//! the first segment on. Another's socket that is for the same addresses and ports is never given anything.

use crate::maps::LISTENERS;
use crate::neighbour;
use crate::time_wait;
use crate::tuple::{CURRENT_NETNS, Tuple, size};
use crate::{DROP, NEXT};
use aya_ebpf::bindings::{__sk_buff, BPF_F_INGRESS, bpf_sock};
use aya_ebpf::helpers::{
    bpf_map_lookup_elem, bpf_redirect, bpf_sk_assign, bpf_sk_release, bpf_skb_store_bytes, bpf_skc_lookup_tcp,
};
use core::ffi::c_void;
use core::ptr::null_mut;
use filter_core::abi::{self, SandboxConfig};
use filter_core::packet::{Flow, tcp_flags};

/// `TCP_LISTEN`: a socket that is no connection.
const LISTEN: u32 = 10;

/// What becomes of the packet; [`DROP`] when nobody takes it, which is as it was then.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn hand_over(skb: *mut __sk_buff, flow: *const Flow, sandbox: *const SandboxConfig, slot: u32) -> i32 {
    // SAFETY: the verifier makes sure that a pointer is null or leads to a whole value.
    let (Some(flow), Some(sandbox)) = (unsafe { (flow.as_ref(), sandbox.as_ref()) }) else {
        return DROP;
    };
    let is_taken = if sandbox.bridge == 0 { assign(skb, flow, slot) != 0 } else { carry(skb, flow, slot) };
    if !is_taken {
        return DROP;
    }
    neighbour::learn(flow, slot, 1);
    // SAFETY: a field of the context that programs may write; the helper takes any device.
    unsafe {
        (*skb).mark = (*skb).mark & !sandbox.mark_mask | sandbox.capture_mark;
        if sandbox.bridge == 0 { NEXT } else { bpf_redirect(sandbox.bridge, BPF_F_INGRESS.into()) as i32 }
    }
}

/// Not 0 when a socket takes the packet. That of a connection needs no assigning: the host's stack finds it where it was found here, and with it the
/// way there, once the mark lets it look (`tcp_early_demux`).
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn assign(skb: *mut __sk_buff, flow: *const Flow, slot: u32) -> u32 {
    // SAFETY: as in `hand_over`.
    let Some(flow) = (unsafe { flow.as_ref() }) else {
        return 0;
    };
    let tuple = Tuple::of(flow);
    let found = lookup(skb, flow, &tuple);
    if !found.is_null() {
        // SAFETY: it is not null, and is let go of here; the device is a field of the context.
        let (is_its, ifindex) = unsafe {
            let ifindex = (*skb).ifindex;
            let is_its = (*found).bound_dev_if == ifindex;
            bpf_sk_release(found.cast());
            (is_its, ifindex)
        };
        // It has ended, or may have when the stack looks for it.
        if is_its && opens(flow) {
            time_wait::handed(&tuple, ifindex, slot);
        }
        return u32::from(is_its);
    }
    let socket = listener(slot, flow.source.is_v4());
    if socket.is_null() {
        return 0;
    }
    // SAFETY: a socket that was looked up, and is let go of here.
    unsafe {
        let assigned = bpf_sk_assign(skb.cast(), socket, 0);
        bpf_sk_release(socket);
        u32::from(assigned == 0)
    }
}

/// Whether a packet asks for a connection.
#[inline(always)]
fn opens(flow: &Flow) -> bool {
    flow.tcp_flags & (tcp_flags::SYN | tcp_flags::ACK | tcp_flags::RST) == tcp_flags::SYN
}

/// Not 0 when the packet belongs to a connection of the sandbox's that was handed over, and goes there: also where the lists allow today what
/// only a name allowed when it began. Ports of bridges are left out: their connections are bound to the bridge.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn carry_on(skb: *mut __sk_buff, flow: *const Flow, sandbox: *const SandboxConfig) -> u32 {
    // SAFETY: as in `hand_over`.
    let (Some(flow), Some(sandbox)) = (unsafe { (flow.as_ref(), sandbox.as_ref()) }) else {
        return 0;
    };
    let socket = lookup(skb, flow, &Tuple::of(flow));
    if socket.is_null() {
        return 0;
    }
    // SAFETY: it is not null, and is let go of here; the others are fields of the context.
    unsafe {
        let is_its = (*socket).bound_dev_if == (*skb).ifindex;
        bpf_sk_release(socket.cast());
        if is_its {
            (*skb).mark = (*skb).mark & !sandbox.mark_mask | sandbox.capture_mark;
        }
        u32::from(is_its)
    }
}

/// Lets the bridge know whose the packet is, if there is somebody to hand it to.
#[inline(always)]
fn carry(skb: *mut __sk_buff, flow: &Flow, slot: u32) -> bool {
    let listener = listener(slot, flow.source.is_v4());
    if listener.is_null() {
        return false;
    }
    let to = abi::carried(slot);
    // SAFETY: a socket that was looked up; the address is as long as told.
    unsafe {
        bpf_sk_release(listener);
        bpf_skb_store_bytes(skb.cast(), 0, (&raw const to).cast(), to.len() as u32, 0) == 0
    }
}

/// The socket of a connection with the packet's addresses and ports, whosesoever; the caller lets go of it. One that has ended lately is
/// among them (`TCP_TIME_WAIT`): the listener could open no other beside it (Linux 6.10), and the kernel ends it for a new one ([`time_wait`]).
#[inline(always)]
fn lookup(skb: *mut __sk_buff, flow: &Flow, tuple: &Tuple) -> *mut bpf_sock {
    let size = size(flow.source.is_v4());
    // SAFETY: the tuple is as long as told.
    let socket =
        unsafe { bpf_skc_lookup_tcp(skb.cast(), (&raw const tuple.0).cast_mut().cast(), size, CURRENT_NETNS, 0) };
    if socket.is_null() {
        return null_mut();
    }
    // SAFETY: it is not null.
    if unsafe { (*socket).state } == LISTEN {
        // SAFETY: it was looked up above.
        unsafe { bpf_sk_release(socket.cast()) };
        return null_mut();
    }
    socket
}

/// The sandbox's listener for a family; the caller lets go of it.
#[inline(always)]
pub fn listener(slot: u32, is_v4: bool) -> *mut c_void {
    let key = abi::listener(slot, is_v4);
    let map = (&raw const LISTENERS).cast_mut().cast();
    // SAFETY: the map is of sockets, and the key is one of it.
    unsafe { bpf_map_lookup_elem(map, (&raw const key).cast()) }
}
