//! How long things took.

use anyhow::Result;
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn of<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let done = work()?;
        self.0.push(started.elapsed());
        Ok(done)
    }

    /// Medians of all, of the first tenth and of the last, and the longest.
    pub(crate) fn print(&self, what: &str) {
        let tenth = self.0.len().div_ceil(10);
        let (first, last) = (median(&self.0[..tenth]), median(&self.0[self.0.len() - tenth..]));
        let longest = self.0.iter().max().map_or(0.0, Duration::as_secs_f64) * 1e3;
        let all = median(&self.0);
        println!(
            "{what}: {} times, {all:.1} ms (first tenth {first:.1}, last tenth {last:.1}, longest {longest:.1})",
            self.0.len()
        );
    }
}

fn median(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).map_or(0.0, Duration::as_secs_f64) * 1e3
}
