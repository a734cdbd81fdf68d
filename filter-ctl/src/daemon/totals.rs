//! What all sandboxes have counted together, those that have ended too: sums that never go back.
//!
//! The kernel forgets a sandbox's counters with its attachment, and a reading of all sandboxes takes many short looks. So only what has
//! come since the last reading of a sandbox is added.

use filter_core::Reason;
use filter_core::abi::{COUNTERS, Counter, REASONS};
use filter_dataplane::Counters;
use std::collections::{BTreeMap, HashMap};

/// What was counted of one sandbox, or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// The kernel's rows.
    rows: [u64; COUNTERS as usize],
    /// What the sidecar has refused, by the number of the reason.
    refused: [u64; REASONS as usize],
}

impl Reading {
    const NOTHING: Reading = Reading { rows: [0; COUNTERS as usize], refused: [0; REASONS as usize] };

    /// What the kernel and the sidecar have counted of a sandbox.
    pub(super) fn new(kernel: Option<&Counters>, refused: &BTreeMap<u8, u64>) -> Reading {
        let mut reading = Reading::NOTHING;
        if let Some(kernel) = kernel {
            reading.rows.iter_mut().zip(kernel.rows()).for_each(|(row, counted)| *row = *counted);
        }
        for (reason, count) in refused {
            if let Some(row) = reading.refused.get_mut(usize::from(*reason)) {
                *row = *count;
            }
        }
        reading
    }

    /// Packets and connections with this reason.
    pub(super) fn decided(&self, reason: Reason) -> u64 {
        let row = usize::from(reason.number());
        self.rows[row] + self.refused[row]
    }

    /// Packets whose reasons allow, or deny.
    pub(super) fn packets(&self, allowed: bool) -> u64 {
        let counted = Reason::ALL.iter().filter(|reason| reason.allows() == allowed);
        counted.map(|reason| self.rows[usize::from(reason.number())]).sum()
    }

    /// One of the rows beside the packets by reason.
    pub(super) fn get(&self, counter: Counter) -> u64 {
        self.rows[counter as usize]
    }

    fn add(&mut self, more: &Reading) {
        self.each(more, |sum, more| *sum += more);
    }

    /// What this has and `before` has not.
    fn since(&self, before: &Reading) -> Reading {
        let mut rest = self.clone();
        rest.each(before, |now, before| *now = now.saturating_sub(before));
        rest
    }

    fn each(&mut self, other: &Reading, with: impl Fn(&mut u64, u64)) {
        self.rows.iter_mut().zip(other.rows).for_each(|(mine, other)| with(mine, other));
        self.refused.iter_mut().zip(other.refused).for_each(|(mine, other)| with(mine, other));
    }
}

/// What was counted of all sandboxes since the daemon has started, and before of those that it has taken over.
#[derive(Debug)]
pub(super) struct Totals {
    all: Reading,
    /// The last reading of each that is attached, by slot and incarnation.
    live: HashMap<(u32, u32), (String, Reading)>,
}

impl Totals {
    pub(super) fn new() -> Totals {
        Totals { all: Reading::NOTHING, live: HashMap::new() }
    }

    /// Takes note of a reading of a sandbox, told by slot and incarnation.
    pub(super) fn note(&mut self, of: (u32, u32), id: &str, reading: Reading) {
        let (_, last) = self.live.entry(of).or_insert_with(|| (id.to_owned(), Reading::NOTHING));
        self.all.add(&reading.since(last));
        *last = reading;
    }

    /// Takes note of the last reading of a sandbox: the kernel forgets it now.
    pub(super) fn end(&mut self, of: (u32, u32), id: &str, reading: Reading) {
        self.note(of, id, reading);
        self.live.remove(&of);
    }

    /// All sandboxes together.
    pub(super) fn all(&self) -> &Reading {
        &self.all
    }

    /// Each that is attached.
    pub(super) fn live(&self) -> impl Iterator<Item = (&str, &Reading)> {
        self.live.values().map(|(id, reading)| (id.as_str(), reading))
    }

    /// Those that have ended together.
    pub(super) fn ended(&self) -> Reading {
        self.live.values().fold(self.all.clone(), |rest, (_, reading)| rest.since(reading))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(denied: u64, refused: u64) -> Reading {
        let mut reading = Reading::new(None, &BTreeMap::from([(Reason::NameDenied.number(), refused)]));
        reading.rows[usize::from(Reason::AddressDenied.number())] = denied;
        reading
    }

    #[test]
    fn sums_never_go_back() {
        let mut totals = Totals::new();
        totals.note((3, 1), "a", reading(5, 0));
        totals.note((4, 2), "b", reading(7, 1));
        totals.note((3, 1), "a", reading(6, 2));
        let sum =
            |totals: &Totals| (totals.all().decided(Reason::AddressDenied), totals.all().decided(Reason::NameDenied));
        assert_eq!(sum(&totals), (13, 3));
        totals.end((3, 1), "a", reading(8, 2));
        assert_eq!((sum(&totals), totals.live().count()), ((15, 3), 1));
        assert_eq!(totals.ended(), reading(8, 2));
        // The next in the same slot begins anew.
        totals.note((3, 9), "a", reading(1, 0));
        assert_eq!(sum(&totals), (16, 3));
        assert_eq!(totals.ended(), reading(8, 2));
        // One that was never read, too.
        totals.end((5, 3), "c", reading(2, 0));
        assert_eq!((sum(&totals), totals.ended()), ((18, 3), reading(10, 2)));
        assert_eq!((totals.all().packets(false), totals.all().packets(true)), (18, 0));
    }
}
