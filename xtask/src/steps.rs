//! A sequence of named steps: a heading and a time each, and a table at the close.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;

/// What has been done so far.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
}

struct Step {
    name: String,
    time: Duration,
    failed: bool,
}

impl Steps {
    /// Runs one step. Its failure is told at once and remembered; the steps after it run all the same.
    pub(crate) fn run<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        eprintln!("\n── {name}");
        let start = Instant::now();
        let result = work();
        let time = start.elapsed();
        match &result {
            Ok(_) => eprintln!("── {name}: done in {}", Seconds(time)),
            Err(error) => eprintln!("error: {error:#}\n── {name}: FAILED after {}", Seconds(time)),
        }
        self.done.push(Step { name: name.into(), time, failed: result.is_err() });
        result.ok()
    }

    /// Whether each step succeeded.
    pub(crate) fn succeeded(&self) -> bool {
        self.done.iter().all(|step| !step.failed)
    }

    /// Every step with its result and time, as a table.
    pub(crate) fn table(&self) -> String {
        let width = self.done.iter().map(|step| step.name.chars().count()).max().unwrap_or(0);
        let rows = self.done.iter().map(|Step { name, time, failed }| {
            let result = if *failed { "FAILED" } else { "ok" };
            format!("  {name:width$}  {result:6}  {:>12}\n", Seconds(*time).to_string())
        });
        rows.collect()
    }
}

/// A time as people read it.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..60 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            _ => write!(f, "{} min {:02} s", seconds / 60, seconds % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_failed_step_does_not_stop_the_next_one() {
        let mut steps = Steps::default();
        assert_eq!(steps.run::<()>("first", || bail!("no")), None);
        assert_eq!(steps.run("second", || Ok(7)), Some(7));
        assert!(!steps.succeeded());
        let table = steps.table();
        assert_eq!(table.lines().count(), 2);
        assert!(table.contains("first   FAILED") && table.contains("second  ok"), "{table}");
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(Seconds(Duration::from_millis(1_240)).to_string(), "1.2 s");
        assert_eq!(Seconds(Duration::from_secs(183)).to_string(), "3 min 03 s");
    }
}
