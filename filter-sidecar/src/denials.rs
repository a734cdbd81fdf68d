//! Refusals, told and counted: a sandbox that is refused very often does not keep others' from being told.

use filter_core::Reason;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What the limit counts in.
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The refusals of a sandbox.
#[derive(Debug)]
pub(crate) struct Denials {
    per_second: u32,
    begun: Instant,
    told: u32,
    untold: BTreeMap<Reason, u64>,
}

/// What is to be done about a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Tell it.
    Now,
    /// It is told by number, a second from now.
    Later,
    /// As others that are.
    WithOthers,
}

impl Denials {
    /// None yet.
    pub(crate) fn new(per_second: u32) -> Denials {
        Denials { per_second, begun: Instant::now(), told: 0, untold: BTreeMap::new() }
    }

    /// Takes note of one.
    pub(crate) fn note(&mut self, reason: Reason, now: Instant) -> Told {
        if now.duration_since(self.begun) >= SECOND {
            (self.begun, self.told) = (now, 0);
        }
        if self.told < self.per_second {
            self.told += 1;
            return Told::Now;
        }
        self.keep(reason)
    }

    /// Keeps one that could not be told.
    pub(crate) fn keep(&mut self, reason: Reason) -> Told {
        let is_first = self.untold.is_empty();
        *self.untold.entry(reason).or_default() += 1;
        if is_first { Told::Later } else { Told::WithOthers }
    }

    /// Keeps those that could not be told by number either.
    pub(crate) fn keep_again(&mut self, untold: BTreeMap<Reason, u64>) {
        for (reason, count) in untold {
            *self.untold.entry(reason).or_default() += count;
        }
    }

    /// Those that were not told, by reason.
    pub(crate) fn take_untold(&mut self) -> BTreeMap<Reason, u64> {
        std::mem::take(&mut self.untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_told_a_second_and_all_are_counted() {
        let mut denials = Denials::new(2);
        let now = denials.begun;
        let mut note = |reason, now| denials.note(reason, now);
        assert_eq!(note(Reason::NameDenied, now), Told::Now);
        assert_eq!(note(Reason::NoName, now), Told::Now);
        assert_eq!(note(Reason::NameDenied, now), Told::Later);
        assert_eq!(note(Reason::NameDenied, now), Told::WithOthers);
        assert_eq!(note(Reason::NoName, now + SECOND / 2), Told::WithOthers);
        assert_eq!(note(Reason::NoName, now + SECOND), Told::Now);
        assert_eq!(Vec::from_iter(denials.take_untold()), [(Reason::NameDenied, 2), (Reason::NoName, 1)]);
        assert_eq!(denials.keep(Reason::NoName), Told::Later);
        denials.keep_again(BTreeMap::from([(Reason::NoName, 4)]));
        assert_eq!(Vec::from_iter(denials.take_untold()), [(Reason::NoName, 5)]);
    }
}
