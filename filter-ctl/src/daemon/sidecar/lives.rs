//! How often the sidecar is started again.

use std::time::{Duration, Instant};

/// A life that is shorter comes to nothing, and the next start waits.
const SHORT: Duration = Duration::from_secs(1);
/// The first wait; each one that follows another is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// And the longest.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The lives of sidecars so far.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// How many there were and are.
    pub(super) begun: u32,
    /// How the last one ended.
    pub(super) last_end: Option<String>,
    /// Short ones since the last that was not.
    short: u32,
    not_before: Option<Instant>,
}

impl Lives {
    /// One has ended.
    pub(super) fn ended(&mut self, after: Duration, why: String, now: Instant) {
        self.last_end = Some(why);
        self.short = if after < SHORT { self.short.saturating_add(1) } else { 0 };
        // The first one may have been struck by chance.
        let doublings = self.short.checked_sub(2);
        let wait = doublings.map(|doublings| FIRST_WAIT.saturating_mul(1 << doublings.min(10)).min(LONGEST_WAIT));
        self.not_before = wait.map(|wait| now + wait);
    }

    /// How long the next one must wait.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        self.not_before.and_then(|at| at.checked_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// Those that took the place of another.
    pub(super) fn restarts(&self) -> u32 {
        self.begun.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_that_ends_at_once_again_and_again_waits() {
        let (mut lives, now) = (Lives::default(), Instant::now());
        let mut end = |after| {
            lives.ended(after, "exit status: 1".to_owned(), now);
            lives.wait(now).unwrap_or_default().as_millis()
        };
        let short = Duration::from_millis(10);
        assert_eq!((end(short), end(short), end(short), end(short)), (0, 100, 200, 400));
        assert_eq!((0..20).map(|_| end(short)).last(), Some(10_000));
        assert_eq!(end(SHORT), 0);
        assert_eq!(end(SHORT), 0);
        lives.ended(short, String::new(), now);
        lives.ended(short, String::new(), now);
        assert_eq!(lives.wait(now + FIRST_WAIT), None);
    }
}
