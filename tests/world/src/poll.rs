//! Waiting for something to become true: never a fixed sleep, never for ever.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long [`poll`] rests between two attempts.
const INTERVAL: Duration = Duration::from_millis(4);

/// A point in time after which waiting ends.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline that lies `within` from now.
    pub fn after(within: Duration) -> Self {
        Self(Instant::now() + within)
    }

    /// Whether the deadline has passed.
    pub fn expired(self) -> bool {
        self.remaining().is_zero()
    }

    /// What is left until the deadline; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Repeats `attempt` until it gives a value, at most for `within`. It is tried at least once.
pub fn poll<T>(within: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Deadline::after(within);
    loop {
        if let Some(value) = attempt() {
            return Some(value);
        }
        if deadline.expired() {
            return None;
        }
        thread::sleep(INTERVAL.min(deadline.remaining()));
    }
}

/// Repeats `condition` until it holds, at most for `within`; tells whether it came to hold.
pub fn wait_until(within: Duration, mut condition: impl FnMut() -> bool) -> bool {
    poll(within, || condition().then_some(())).is_some()
}
