//! Which sockets are a cgroup's: each is tagged as it is made (hook of `socket`, kernel 4.10; storage of sockets 5.2). So what connects to
//! somebody else's at loopback fails at once; the packets are judged by whose the far socket is ([`super::walk`]).
//!
//! One that was made before the cgroup was a sandbox has no tag, and is nobody's here.

use super::{ALLOW, Attached, REFUSE};
use crate::tuple::{CURRENT_NETNS, Tuple, ports, size};
use aya_ebpf::bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock_addr};
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use aya_ebpf::helpers::{bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release};
use aya_ebpf::macros::{btf_map, cgroup_sock};
use aya_ebpf::programs::SockContext;
use core::ptr::null_mut;
use filter_core::Address;
use filter_core::abi::SocketTag;
use filter_core::packet::protocol;

/// Whose a socket is.
#[btf_map]
static SOCKETS: SkStorage<SocketTag> = SkStorage::new();

#[cgroup_sock(sock_create)]
pub fn cgroup_socket(ctx: SockContext) -> i32 {
    let Some(attached) = Attached::find() else {
        return REFUSE;
    };
    let map = (&raw const SOCKETS).cast_mut().cast();
    // SAFETY: the context is the socket that is made; what is stored at it lives as long as that.
    unsafe {
        let tag: *mut SocketTag =
            bpf_sk_storage_get(map, ctx.sock.cast(), null_mut(), BPF_SK_STORAGE_GET_F_CREATE.into()).cast();
        // Without memory it has none, and nobody of its own cgroup reaches it at loopback.
        if !tag.is_null() {
            *tag = attached.tag();
        }
    }
    ALLOW
}

/// Whether the socket that takes what is sent to a place at loopback is of the same sandbox.
#[inline(always)]
pub fn is_own(to: *const bpf_sock_addr, address: &Address, port: u16, kind: u8, own: SocketTag) -> bool {
    let octets = address.octets();
    let word =
        |at: usize| u32::from_ne_bytes([octets[4 * at], octets[4 * at + 1], octets[4 * at + 2], octets[4 * at + 3]]);
    // From loopback, by a port that nobody has.
    let mut tuple = if address.is_v4() {
        Tuple::v4(word(3), word(3), ports(0, port))
    } else {
        let all = [word(0), word(1), word(2), word(3)];
        Tuple::v6(all, all, ports(0, port))
    };
    let size = size(address.is_v4());
    let (ctx, tuple) = (to.cast_mut().cast(), (&raw mut tuple.0).cast());
    // SAFETY: the tuple is as long as told; a socket that was found is let go of.
    unsafe {
        let socket = match kind {
            protocol::TCP => bpf_sk_lookup_tcp(ctx, tuple, size, CURRENT_NETNS, 0),
            protocol::UDP => bpf_sk_lookup_udp(ctx, tuple, size, CURRENT_NETNS, 0),
            _ => return false,
        };
        if socket.is_null() {
            return false;
        }
        let map = (&raw const SOCKETS).cast_mut().cast();
        let tag: *const SocketTag = bpf_sk_storage_get(map, socket.cast(), null_mut(), 0).cast();
        let is_own = !tag.is_null() && *tag == own;
        bpf_sk_release(socket.cast());
        is_own
    }
}
