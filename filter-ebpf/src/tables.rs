//! The address tables of one sandbox, for the decision.

use crate::flows;
use crate::maps::{LIVING, POLICIES};
use aya_ebpf::btf_maps::lpm_trie::Key;
use filter_core::abi::{FlowKey, LivingValue, PolicyValue};
use filter_core::{Address, Tables};

/// Tables of the sandbox in `slot`.
pub struct Slot(pub u32);

impl Tables for Slot {
    #[inline(always)]
    fn policy(&self, address: &Address) -> Option<PolicyValue> {
        POLICIES.get(self.0)?.get(&Key::new(128, address.0)).copied()
    }

    #[inline(always)]
    fn living(&self, address: &Address) -> Option<LivingValue> {
        LIVING.get(&Key::new(128, address.0)).copied()
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<u32> {
        flows::state(self.0, key)
    }
}
