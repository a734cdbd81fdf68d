//! What is in the slots, whoever is hooked to them.

use crate::{Counters, Dataplane, Error, flows};
use filter_core::abi::{self, SandboxConfig};
use std::collections::BTreeSet;

/// What the kernel enforces in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// The attachment.
    pub config: SandboxConfig,
    /// Generation of the policy.
    pub generation: u32,
}

impl Dataplane {
    /// Replaces what is known of the attachment: addresses, gateway, limits, or the seal.
    ///
    /// # Errors
    /// What the kernel refused; the old configuration is whole then.
    pub fn configure(&mut self, slot: u32, config: &SandboxConfig) -> Result<(), Error> {
        self.shared.flows.provide(&[(slot, flows::is_open(config))]).into_iter().collect::<Result<(), _>>()?;
        self.shared.set_config(slot, config)
    }

    /// Whether a slot has all that a sandbox's has: a sandbox that is attached is given all of it before its hooks.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn is_full(&self, slot: u32) -> Result<bool, Error> {
        self.shared.is_full(slot)
    }

    /// What the kernel enforces in a slot; `None` when it is empty.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn state(&self, slot: u32) -> Result<Option<SlotState>, Error> {
        let held = self.shared.sandbox(slot)?;
        Ok(held.map(|held| SlotState { config: held.config, generation: held.policy.generation() }))
    }

    /// Empties all slots but the `known` ones and those that have links: what an operation of a daemon before left that was never completed.
    /// Tells which had something in them.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn sweep(&mut self, known: &BTreeSet<u32>) -> Result<Vec<u32>, Error> {
        if self.was_empty {
            return Ok(Vec::new());
        }
        let mut kept: BTreeSet<u32> = self.linked_slots()?.into_iter().collect();
        kept.extend(known);
        kept.insert(abi::DIALS);
        let swept: Vec<u32> = self.shared.occupied()?.difference(&kept).copied().collect();
        for slot in &swept {
            self.shared.clear(&self.pins, *slot)?;
        }
        Ok(swept)
    }

    /// A sandbox's counters; `None` when the slot is empty.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn counters(&self, slot: u32) -> Result<Option<Counters>, Error> {
        self.shared.counters(slot)
    }
}
