//! Where sockets of a cgroup connect and send to: hooks of `connect` and `sendmsg` (kernel 4.17 and 4.18). What is denied fails at once, before there is
//! a packet; all packets are judged as well ([`super::packets`]).

use super::{ALLOW, Attached, REFUSE, count_sent};
use crate::dial::{to_v4, to_v6};
use crate::emit;
use crate::tables::Walk;
use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use filter_core::abi::Sandbox;
use filter_core::packet::{Flow, ethertype};
use filter_core::{Address, Remote, decide_destination};

#[cgroup_sock_addr(connect4)]
pub fn cgroup_connect4(ctx: SockAddrContext) -> i32 {
    judge(ctx.sock_addr, to_v4(ctx.sock_addr))
}

#[cgroup_sock_addr(connect6)]
pub fn cgroup_connect6(ctx: SockAddrContext) -> i32 {
    judge(ctx.sock_addr, to_v6(ctx.sock_addr))
}

#[cgroup_sock_addr(sendmsg4)]
pub fn cgroup_sendmsg4(ctx: SockAddrContext) -> i32 {
    judge(ctx.sock_addr, to_v4(ctx.sock_addr))
}

#[cgroup_sock_addr(sendmsg6)]
pub fn cgroup_sendmsg6(ctx: SockAddrContext) -> i32 {
    judge(ctx.sock_addr, to_v6(ctx.sock_addr))
}

#[inline(always)]
fn judge(to: *const bpf_sock_addr, address: Address) -> i32 {
    let Some(attached) = Attached::find() else {
        return REFUSE;
    };
    let (slot, sandbox @ Sandbox { config, .. }) = (attached.entry.slot, attached.sandbox);
    // SAFETY: the context is valid while the program runs.
    let (port, protocol) = unsafe { ((*to).user_port, (*to).protocol) };
    let (port, protocol) = (u16::from_be(port as u16), protocol as u8);
    let remote = Remote { address, port: Some(port), protocol, capturable: true };
    let walk = Walk { slot, sandbox: Some(sandbox), skb: core::ptr::null_mut() };
    let verdict = decide_destination(&remote, config, &walk);
    if verdict.reason.allows() {
        return ALLOW;
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
