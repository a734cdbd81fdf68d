//! How long things took.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How soon everything must be as it was, on a machine that does other things as well. The table has what it was.
pub(crate) const LIMIT: Duration = Duration::from_secs(3);

static ROWS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Takes note of what was torn down, of how long it took to be mended, and of what left the host meanwhile. Prints all rows so far.
pub(crate) fn note(what: &str, mended: Duration, left: usize) {
    let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    rows.push(format!("{what:<64} {:>8.1} ms {left:>6}", mended.as_secs_f64() * 1_000.0));
    println!("{:<64} {:>11} {:>6}\n{}", "torn down", "mended in", "left", rows.join("\n"));
}
