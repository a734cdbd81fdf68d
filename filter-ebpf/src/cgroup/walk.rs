//! The tables and the steps of a walk for a cgroup.

use super::Attached;
use crate::frame::Frame;
use crate::steps;
use crate::tables::Walk;
use crate::tuple::{CURRENT_NETNS, Tuple, size};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{bpf_sk_ancestor_cgroup_id, bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release};
use filter_core::abi::{CgroupEntry, FlowKey, LivingValue, PolicyValue, SandboxConfig};
use filter_core::packet::{self, Flow, Source, protocol};
use filter_core::{Address, Far, FlowChange, Reason, Remote, Steps, Tables, Verdict};

/// A walk, and what it needs besides: memory for the packet that an error quotes.
pub struct CgroupWalk<'a> {
    walk: Walk<'a>,
    entry: CgroupEntry,
    inner: *mut Flow,
}

impl<'a> CgroupWalk<'a> {
    #[inline(always)]
    pub fn new(attached: &'a Attached, skb: *mut __sk_buff, inner: &mut Flow) -> CgroupWalk<'a> {
        let Attached { entry, sandbox } = attached;
        CgroupWalk { walk: Walk { slot: entry.slot, sandbox: Some(sandbox), skb }, entry: *entry, inner }
    }
}

impl Tables for CgroupWalk<'_> {
    #[inline(always)]
    fn policy(&self, address: &Address) -> Option<PolicyValue> {
        self.walk.policy(address)
    }

    #[inline(always)]
    fn living(&self, address: &Address) -> Option<LivingValue> {
        self.walk.living(address)
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<u32> {
        self.walk.flow(key)
    }

    #[inline(always)]
    fn is_among_own(&self, flow: &Flow, far: Far) -> bool {
        let CgroupEntry { level, id, .. } = self.entry;
        is_among_own(self.walk.skb, flow, far as u32, level, id) != 0
    }
}

impl Steps for CgroupWalk<'_> {
    #[inline(always)]
    fn parse_packet<S: Source>(&self, _: &S, flow: &mut Flow) -> Result<(), Reason> {
        let refused = parse_packet(self.walk.skb, flow);
        Reason::from_number(refused as u8).map_or(Ok(()), Err)
    }

    #[inline(always)]
    fn remote(&self, remote: &Remote) -> Verdict {
        self.walk.remote(remote)
    }

    #[inline(always)]
    fn inbound_change(&self, flow: &Flow, state: u32) -> Option<FlowChange> {
        self.walk.inbound_change(flow, state)
    }

    #[inline(always)]
    fn follow(&self, flow: &Flow, sandbox: &SandboxConfig) -> FlowChange {
        self.walk.follow(flow, sandbox)
    }

    #[inline(always)]
    fn quoted<S: Source>(&self, packet: &S, flow: &Flow, inner: &mut Flow) -> bool {
        self.walk.quoted(packet, flow, inner)
    }

    #[inline(always)]
    fn answer<S: Source>(&self, _: &S, flow: &Flow, sandbox: &SandboxConfig) -> Option<FlowChange> {
        FlowChange::from_word(steps::answer(self.walk.skb, flow, self.inner, sandbox, self.walk.slot))
    }

    #[inline(always)]
    fn error_about_own<S: Source>(&self, _: &S, flow: &Flow, _: &SandboxConfig) -> Option<Reason> {
        let found = steps::error_about_own(self.walk.skb, flow, self.inner, self.walk.pointer(), self.walk.slot);
        Reason::from_number(found as u8)
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn parse_packet(skb: *mut __sk_buff, flow: *mut Flow) -> u32 {
    // SAFETY: the verifier makes sure that the pointer is null or leads to a whole value; nobody else has it meanwhile.
    let Some(flow) = (unsafe { flow.as_mut() }) else {
        return u32::from(Reason::MalformedIp.number());
    };
    packet::parse_without_link(&Frame { skb }, flow).err().map_or(0, |reason| u32::from(reason.number()))
}

/// Not 0 when the far socket is in the cgroup, or below it (`bpf_sk_ancestor_cgroup_id`, kernel 5.8).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_among_own(skb: *mut __sk_buff, flow: *const Flow, far: u32, level: u32, id: u64) -> u32 {
    // SAFETY: as in `parse_packet`.
    let Some(flow) = (unsafe { flow.as_ref() }) else {
        return 0;
    };
    // The far socket's own address is the second one of a tuple.
    let mut tuple = if far == Far::Destination as u32 { Tuple::of(flow) } else { Tuple::back(flow) };
    let size = size(flow.source.is_v4());
    // SAFETY: the tuple is as long as told; a socket that was found is let go of.
    unsafe {
        let tuple = (&raw mut tuple.0).cast();
        let socket = match flow.protocol {
            protocol::TCP => bpf_sk_lookup_tcp(skb.cast(), tuple, size, CURRENT_NETNS, 0),
            protocol::UDP => bpf_sk_lookup_udp(skb.cast(), tuple, size, CURRENT_NETNS, 0),
            _ => return 0,
        };
        if socket.is_null() {
            return 0;
        }
        let cgroup = bpf_sk_ancestor_cgroup_id(socket.cast(), level as i32);
        bpf_sk_release(socket.cast());
        u32::from(cgroup == id)
    }
}
