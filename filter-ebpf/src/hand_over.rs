//! Hands a connection to the sidecar: the packet goes to a socket of the sandbox's own listener instead of its destination.
//!
//! The socket is assigned at tc ingress (`bpf_sk_assign`, kernel 5.7); a routing rule for the mark then keeps the packet on this host.

use crate::maps::LISTENERS;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{bpf_map_lookup_elem, bpf_sk_assign, bpf_sk_release, bpf_skc_lookup_tcp};
use core::ffi::c_void;
use filter_core::abi::{self, SandboxConfig};
use filter_core::packet::Flow;

/// `TCP_TIME_WAIT` and `TCP_LISTEN`: sockets that are no connection.
const TIME_WAIT: u32 = 6;
const LISTEN: u32 = 10;

/// The namespace of the packet's device.
const CURRENT_NETNS: u64 = -1_i64 as u64;

/// Not 0 when a socket takes the packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn hand_over(skb: *mut __sk_buff, flow: *const Flow, sandbox: *const SandboxConfig, slot: u32) -> u32 {
    // SAFETY: the verifier makes sure that a pointer is null or leads to a whole value.
    let (Some(flow), Some(sandbox)) = (unsafe { (flow.as_ref(), sandbox.as_ref()) }) else {
        return 0;
    };
    let connection = connection(skb, flow);
    let socket = if connection.is_null() { listener(slot, flow) } else { connection };
    if socket.is_null() {
        return 0;
    }
    // SAFETY: a socket that was looked up, and is let go of here.
    let assigned = unsafe {
        let assigned = bpf_sk_assign(skb.cast(), socket, 0);
        bpf_sk_release(socket);
        assigned
    };
    if assigned != 0 {
        return 0;
    }
    // SAFETY: a field of the context that programs may write.
    unsafe { (*skb).mark = (*skb).mark & !sandbox.mark_mask | sandbox.capture_mark };
    1
}

/// The socket of a connection that the packet belongs to; the caller lets go of it.
#[inline(always)]
fn connection(skb: *mut __sk_buff, flow: &Flow) -> *mut c_void {
    let mut tuple = [0_u32; 9];
    let ports = |at: &mut u32| {
        *at = u32::from_ne_bytes({
            let ([a, b], [c, d]) = (flow.source_port.to_be_bytes(), flow.destination_port.to_be_bytes());
            [a, b, c, d]
        });
    };
    let (source, destination) = (flow.source.octets(), flow.destination.octets());
    let word = |octets: &[u8; 16], at: usize| {
        u32::from_ne_bytes([octets[4 * at], octets[4 * at + 1], octets[4 * at + 2], octets[4 * at + 3]])
    };
    let size = if flow.source.is_v4() {
        (tuple[0], tuple[1]) = (word(&source, 3), word(&destination, 3));
        ports(&mut tuple[2]);
        12
    } else {
        for at in 0..4 {
            (tuple[at], tuple[4 + at]) = (word(&source, at), word(&destination, at));
        }
        ports(&mut tuple[8]);
        36
    };
    // SAFETY: the tuple is as long as told.
    let socket = unsafe { bpf_skc_lookup_tcp(skb.cast(), tuple.as_mut_ptr().cast(), size, CURRENT_NETNS, 0) };
    if socket.is_null() {
        return core::ptr::null_mut();
    }
    // SAFETY: it is not null.
    let state = unsafe { (*socket).state };
    if state == LISTEN || state == TIME_WAIT {
        // SAFETY: it was looked up above.
        unsafe { bpf_sk_release(socket.cast()) };
        return core::ptr::null_mut();
    }
    socket.cast()
}

/// The sandbox's listener; the caller lets go of it.
#[inline(always)]
fn listener(slot: u32, flow: &Flow) -> *mut c_void {
    let key = abi::listener(slot, flow.source.is_v4());
    let map = (&raw const LISTENERS).cast_mut().cast();
    // SAFETY: the map is of sockets, and the key is one of it.
    unsafe { bpf_map_lookup_elem(map, (&raw const key).cast()) }
}
