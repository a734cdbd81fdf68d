//! A sandbox's counters.

use filter_core::Reason;
use filter_core::abi::Counter;

/// A reading of a sandbox's counters, summed over the CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters(pub(crate) Vec<u64>);

impl Counters {
    /// Packets with this reason.
    #[must_use]
    pub fn packets(&self, reason: Reason) -> u64 {
        self.0[usize::from(reason.number())]
    }

    /// One of the rows beside the packets by reason.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// Packets that passed.
    #[must_use]
    pub fn allowed(&self) -> u64 {
        Reason::ALL.iter().filter(|reason| reason.allows()).map(|reason| self.packets(*reason)).sum()
    }

    /// Packets that were denied.
    #[must_use]
    pub fn denied(&self) -> u64 {
        Reason::ALL.iter().filter(|reason| !reason.allows()).map(|reason| self.packets(*reason)).sum()
    }

    /// All rows, by number.
    #[must_use]
    pub fn rows(&self) -> &[u64] {
        &self.0
    }
}
