//! Marks the sockets of the daemon and the sidecar, as they are made: a hook of their cgroup (kernel 4.10). Nothing captures what carries the
//! mark, and the sidecar has no right to set one.

use crate::maps::sandbox;
use aya_ebpf::macros::cgroup_sock;
use aya_ebpf::programs::SockContext;
use filter_core::abi;
use filter_core::packet::protocol;

/// Makes the call fail with `EPERM`.
const REFUSE: i32 = 0;
const ALLOW: i32 = 1;

#[cgroup_sock(sock_create)]
pub fn own_socket(ctx: SockContext) -> i32 {
    let socket = ctx.sock;
    let Some(dials) = sandbox(abi::DIALS) else {
        return REFUSE;
    };
    // SAFETY: the context is valid while the program runs, and the mark a field that programs may write.
    unsafe {
        let protocol = (*socket).protocol;
        if protocol != u32::from(protocol::TCP) && protocol != u32::from(protocol::UDP) {
            return REFUSE;
        }
        (*socket).mark = (*socket).mark & !dials.config.mark_mask | dials.config.own_mark;
    }
    ALLOW
}
