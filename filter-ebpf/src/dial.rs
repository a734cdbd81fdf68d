//! Where the sidecar's sockets may go, whatever it is told and whoever has taken it over: hooks of its cgroup (`connect` and `sendmsg`, kernel
//! 4.18).
//!
//! What is protected from sandboxes is protected from it, by the same tables. It speaks TCP, and UDP to its resolvers.

use crate::maps::sandbox;
use crate::steps;
use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use filter_core::packet::protocol;
use filter_core::{Address, Reason, Remote, Verdict, abi};

/// Makes the call fail with `EPERM`.
const REFUSE: i32 = 0;
const ALLOW: i32 = 1;

#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    judge(ctx.sock_addr, to_v4(ctx.sock_addr))
}

#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    judge(ctx.sock_addr, to_v6(ctx.sock_addr))
}

#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    judge(ctx.sock_addr, to_v4(ctx.sock_addr))
}

#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    judge(ctx.sock_addr, to_v6(ctx.sock_addr))
}

/// The IPv4 address that a call is for.
#[inline(always)]
pub fn to_v4(to: *const bpf_sock_addr) -> Address {
    // SAFETY: the context is valid while the program runs.
    Address::v4(unsafe { (*to).user_ip4 }.to_ne_bytes())
}

/// The IPv6 address that a call is for.
#[inline(always)]
pub fn to_v6(to: *const bpf_sock_addr) -> Address {
    // SAFETY: as in `to_v4`.
    let [a, b, c, d] = unsafe { [(*to).user_ip6[0], (*to).user_ip6[1], (*to).user_ip6[2], (*to).user_ip6[3]] };
    let word = |high: u32, low: u32| u64::from(u32::from_be(high)) << 32 | u64::from(u32::from_be(low));
    Address::from_words(word(a, b), word(c, d))
}

#[inline(always)]
fn judge(to: *const bpf_sock_addr, address: Address) -> i32 {
    // SAFETY: as in `to_v4`.
    let (port, protocol) = unsafe { ((*to).user_port, (*to).protocol) };
    let Some(dials) = sandbox(abi::DIALS) else {
        return REFUSE;
    };
    let port = Some(u16::from_be(port as u16));
    let remote = Remote { address, port, protocol: protocol as u8, capturable: false };
    let (high, low) = address.words();
    let reason = Verdict::from_word(steps::judge(dials, high, low, remote.word())).reason;
    let is_spoken = protocol == u32::from(protocol::TCP) || matches!(reason, Reason::AllowedNameserver);
    if reason.allows() && is_spoken { ALLOW } else { REFUSE }
}
