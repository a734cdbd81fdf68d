//! The address tables of one sandbox, for the decision.

use crate::maps::{self, LIVING, PROTECTED};
use crate::steps;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::btf_maps::lpm_trie::Key;
use filter_core::abi::{FlowKey, LivingValue, PolicyValue, Sandbox};
use filter_core::table::{self, First, Node};
use filter_core::{Address, Reason, Tables};

/// Tables of the sandbox in `slot`, and the packet at hand.
pub struct Walk<'a> {
    pub slot: u32,
    /// What judges the whole packet; without it there is no policy.
    pub sandbox: Option<&'a Sandbox>,
    pub skb: *mut __sk_buff,
}

impl Walk<'_> {
    /// The sandbox for a function that the verifier follows by itself; null without one.
    #[inline(always)]
    pub fn pointer(&self) -> *const Sandbox {
        self.sandbox.map_or(core::ptr::null(), core::ptr::from_ref)
    }
}

impl Tables for Walk<'_> {
    #[inline(always)]
    fn policy(&self, address: &Address) -> Option<PolicyValue> {
        let (high, low) = address.words();
        PolicyValue::from_word(steps::search(self.pointer(), high, low))
    }

    #[inline(always)]
    fn living(&self, address: &Address) -> Option<LivingValue> {
        const HOST: u32 = Reason::ProtectedHost as u32;
        // Numbers instead of references: the verifier does not follow a pointer that is one or the other.
        let key = Key::new(128, address.octets());
        let here = LIVING.get(&key).map_or(0, |value| value.reason);
        // What is the host's own address here is nobody else's.
        let reason = match here {
            HOST => HOST,
            _ => PROTECTED.get(&key).map_or(here, |value| value.reason),
        };
        (reason != 0).then_some(LivingValue { reason })
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<u32> {
        u32::try_from(steps::flow_state(key, self.slot)).ok()
    }
}

/// The other nodes of a policy.
pub struct Nodes {
    base: u32,
}

impl Nodes {
    #[inline(always)]
    pub fn of(first: &First) -> Nodes {
        Nodes { base: first.base() }
    }
}

impl table::Nodes for Nodes {
    #[inline(always)]
    fn node(&self, index: u32) -> Option<&Node> {
        maps::node(self.base.wrapping_add(index))
    }
}
