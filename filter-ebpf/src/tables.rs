//! The address tables of one sandbox, for the decision.

use crate::maps::{LIVING, PAGES, PROTECTED};
use crate::steps;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::btf_maps::lpm_trie::Key;
use filter_core::abi::{self, FlowKey, LivingValue, PolicyValue};
use filter_core::table::{self, Page};
use filter_core::{Address, Reason, Tables};

/// Tables of the sandbox in `slot`, and the packet at hand.
pub struct Walk {
    pub slot: u32,
    /// Generation of the policy that judges the whole packet.
    pub generation: u32,
    pub skb: *mut __sk_buff,
}

impl Tables for Walk {
    #[inline(always)]
    fn policy(&self, address: &Address) -> Option<PolicyValue> {
        let (high, low) = address.words();
        PolicyValue::from_word(steps::search(self.slot, high, low)).filter(|value| value.generation == self.generation)
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

/// The pages of one policy behind the first.
pub struct Pages {
    place: u32,
}

impl Pages {
    #[inline(always)]
    pub fn of(slot: u32, first: &Page) -> Pages {
        Pages { place: abi::place(slot, first.rest()) }
    }
}

impl table::Pages for Pages {
    #[inline(always)]
    fn page(&self, index: u32) -> Option<&Page> {
        PAGES.get(self.place)?.get(index.wrapping_sub(1))
    }
}
