//! When which policy was asked for, and when the caller was told that it is in effect.

use super::policy::Policy;
use super::receiver::Arrival;

/// Faults that are told one by one.
const TOLD: usize = 10;

/// A change of policy, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Swap {
    called: u64,
    acknowledged: u64,
}

/// All changes so far; the first is the attachment. Generations count from 1.
#[derive(Clone, Debug, Default)]
pub struct Swaps(Vec<Swap>);

impl Swaps {
    /// The next generation was asked for and acknowledged at these moments.
    pub fn push(&mut self, called: u64, acknowledged: u64) {
        self.0.push(Swap { called, acknowledged });
    }

    /// The latest generation; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.0.len() as u32
    }

    /// When a generation may judge at the most: from its call until the next one's acknowledgement.
    #[must_use]
    pub fn span(&self, generation: u32) -> Option<(u64, u64)> {
        let at = generation.checked_sub(1)? as usize;
        let end = self.0.get(at + 1).map_or(u64::MAX, |next| next.acknowledged);
        Some((self.0.get(at)?.called, end))
    }

    /// When a generation was acknowledged, and when the next was called.
    #[must_use]
    pub fn undisputed(&self, generation: u32) -> Option<(u64, u64)> {
        let at = generation.checked_sub(1)? as usize;
        Some((self.0.get(at)?.acknowledged, self.0.get(at + 1).map_or(u64::MAX, |next| next.called)))
    }

    /// Mean time of a change, in milliseconds, the first left out.
    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        let times = self.0.iter().skip(1).map(|swap| (swap.acknowledged - swap.called) as f64 / 1e6);
        times.sum::<f64>() / (self.0.len().saturating_sub(1).max(1)) as f64
    }

    /// Whether a policy that allows the datagram may have judged it: some moment from its sending to its arrival lies between
    /// that policy's call and the next one's acknowledgement.
    fn explains(&self, arrival: &Arrival) -> bool {
        let called = self.0.partition_point(|swap| swap.called <= arrival.arrived) as u32;
        // Earlier generations of the same policy ended earlier.
        (called.saturating_sub(1)..=called)
            .filter(|generation| Policy::of(*generation).allows(arrival.kind))
            .filter_map(|generation| self.span(generation))
            .any(|(from, to)| from <= arrival.arrived && arrival.sent <= to)
    }

    /// What arrived although no policy that allows it can have judged it.
    pub fn trespasses<'a>(&self, arrivals: impl IntoIterator<Item = &'a Arrival>) -> Vec<String> {
        let unexplained = arrivals.into_iter().filter(|arrival| !self.explains(arrival));
        let mut told: Vec<String> = Vec::new();
        let mut more = 0_u64;
        for arrival in unexplained {
            if told.len() < TOLD {
                told.push(self.tell(arrival));
            } else {
                more += 1;
            }
        }
        if more > 0 {
            told.push(format!("and {more} more datagrams that no policy in effect allows"));
        }
        told
    }

    fn tell(&self, arrival: &Arrival) -> String {
        let generation = self.0.partition_point(|swap| swap.called <= arrival.arrived);
        let since = self.0.get(generation.wrapping_sub(1)).map_or(0, |swap| swap.acknowledged);
        let microseconds = |from: u64, to: u64| to.wrapping_sub(from).cast_signed() / 1_000;
        format!(
            "{:?} arrived under generation {generation} ({:?}): sent {} µs and arrived {} µs after that was acknowledged",
            arrival.kind,
            Policy::of(generation as u32),
            microseconds(since, arrival.sent),
            microseconds(since, arrival.arrived),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::Kind;
    use super::*;

    /// A at 100 to 110, B at 200 to 210, A at 300 to 310.
    fn swaps() -> Swaps {
        let mut swaps = Swaps::default();
        [(100, 110), (200, 210), (300, 310)].into_iter().for_each(|(called, told)| swaps.push(called, told));
        swaps
    }

    fn wrong(kind: Kind, sent: u64, arrived: u64) -> bool {
        !swaps().trespasses(&[Arrival { kind, sent, arrived }]).is_empty()
    }

    #[test]
    fn what_a_policy_in_effect_allows_may_arrive() {
        for (kind, sent, arrived) in [
            (Kind::OnlyA, 101, 102),
            (Kind::OnlyA, 190, 290),
            (Kind::OnlyA, 210, 299),
            (Kind::OnlyA, 215, 301),
            (Kind::OnlyA, 400, 401),
            (Kind::OnlyB, 201, 205),
            (Kind::OnlyB, 310, 311),
            (Kind::OnlyB, 150, 350),
        ] {
            assert!(!wrong(kind, sent, arrived), "{kind:?} {sent} {arrived}");
        }
    }

    #[test]
    fn what_no_policy_in_effect_allows_is_told() {
        for (kind, sent, arrived) in [
            (Kind::OnlyA, 90, 99),
            (Kind::OnlyA, 211, 299),
            (Kind::OnlyB, 101, 199),
            (Kind::OnlyB, 311, 312),
            (Kind::OnlyB, 1_000, 2_000),
        ] {
            assert!(wrong(kind, sent, arrived), "{kind:?} {sent} {arrived}");
        }
    }
}
