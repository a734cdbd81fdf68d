//! Where sockets of a cgroup connect and send to: hooks of `connect` and `sendmsg` (kernel 4.17 and 4.18). What is denied fails at once, before there is
//! a packet; all packets are judged as well ([`super::packets`]).

use super::sockets::is_own;
use super::{ALLOW, Attached, REFUSE, count_sent};
use crate::dial::{to_v4, to_v6};
use crate::emit;
use crate::plain::Policy;
use crate::tables::Walk;
use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::helpers::bpf_setsockopt;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use filter_core::abi::{Sandbox, SandboxConfig};
use filter_core::decide::plain;
use filter_core::packet::{Flow, ethertype};
use filter_core::{Address, Reason, Remote, Verdict, decide_destination};

#[cgroup_sock_addr(connect4)]
pub fn cgroup_connect4(ctx: SockAddrContext) -> i32 {
    judge(ctx.sock_addr, to_v4(ctx.sock_addr), Hooks::Connect)
}

#[cgroup_sock_addr(connect6)]
pub fn cgroup_connect6(ctx: SockAddrContext) -> i32 {
    judge(ctx.sock_addr, to_v6(ctx.sock_addr), Hooks::Connect)
}

#[cgroup_sock_addr(sendmsg4)]
pub fn cgroup_sendmsg4(ctx: SockAddrContext) -> i32 {
    judge(ctx.sock_addr, to_v4(ctx.sock_addr), Hooks::Sendmsg)
}

#[cgroup_sock_addr(sendmsg6)]
pub fn cgroup_sendmsg6(ctx: SockAddrContext) -> i32 {
    judge(ctx.sock_addr, to_v6(ctx.sock_addr), Hooks::Sendmsg)
}

/// Which call is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hooks {
    Connect,
    Sendmsg,
}

/// Marks a socket as one whose packets the host keeps, or takes that mark off (`bpf_setsockopt`, kernel 5.8). Its other bits stay.
#[inline(always)]
fn mark(to: *const bpf_sock_addr, config: &SandboxConfig, is_handed_over: bool) -> bool {
    const SOL_SOCKET: i32 = 1;
    const SO_MARK: i32 = 36;
    const SIZE: i32 = size_of::<u32>() as i32;
    // SAFETY: the context is valid while the program runs, and a socket that is there is a whole one.
    let mark = unsafe {
        let socket = (*to).__bindgen_anon_1.sk;
        if socket.is_null() {
            return false;
        }
        (*socket).mark
    };
    let is_marked = mark & config.mark_mask == config.capture_mark;
    if is_marked == is_handed_over {
        return true;
    }
    let ctx = to.cast_mut().cast();
    let mut wanted = mark & !config.mark_mask | if is_handed_over { config.capture_mark } else { 0 };
    // SAFETY: as above; the value is as long as told.
    unsafe { bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, (&raw mut wanted).cast(), SIZE) == 0 }
}

#[inline(always)]
fn judge(to: *const bpf_sock_addr, address: Address, hooks: Hooks) -> i32 {
    let Some(attached) = Attached::find() else {
        return REFUSE;
    };
    let (slot, sandbox @ Sandbox { config, .. }) = (attached.entry.slot, attached.sandbox);
    // SAFETY: the context is valid while the program runs.
    let (port, protocol) = unsafe { ((*to).user_port, (*to).protocol) };
    let (port, protocol) = (u16::from_be(port as u16), protocol as u8);
    let remote = Remote { address, port: Some(port), protocol, capturable: true };
    let walk = Walk { slot, sandbox: Some(sandbox), skb: core::ptr::null_mut() };
    let verdict = match plain::destination(&remote, config, &Policy { slot, first: &sandbox.policy }) {
        Some(reason) => Verdict::unasked(reason),
        None => decide_destination(&remote, config, &walk),
    };
    let verdict = match verdict.reason {
        Reason::OwnLoopback if !is_own(to, &address, port, protocol, attached.tag()) => {
            Verdict::unasked(Reason::ProtectedRange)
        }
        _ => verdict,
    };
    let is_handed_over = matches!(verdict.reason, Reason::SidecarUnavailable) && hooks == Hooks::Connect;
    if verdict.reason.allows() || is_handed_over {
        return if hooks == Hooks::Connect && !mark(to, config, is_handed_over) { REFUSE } else { ALLOW };
    }
    count_sent(slot, verdict.reason, 0);
    let flow = Flow {
        ethertype: if address.is_v4() { ethertype::IPV4 } else { ethertype::IPV6 },
        has_addresses: true,
        destination: address,
        protocol,
        has_ports: true,
        destination_port: port,
        ..Flow::default()
    };
    emit::tell(slot, config, &flow, verdict.word(), 0);
    REFUSE
}
