//! Faults: what becomes of packets while something changes or breaks.
//!
//! Root is needed, and the command: `cargo build -p filter-ctl`, which `cargo xtask test` does.
#![forbid(unsafe_code)]

pub mod atomicity;
pub mod leaks;
pub mod slots;

use anyhow::{Context, Result, bail};
use std::env;
use std::path::PathBuf;

/// In the environment of the daemon: the file that names the fail point.
pub const FAIL_POINT: &str = "SANDBOX_FILTER_FAIL_POINT";

/// Fail points that only what is asked for by the API leads to.
pub const OF_THE_API: &[&str] = &[
    "provide.noted",
    "provide.made",
    "provide.filtered",
    "provide.started",
    "provide.forgotten",
    "timeout.rewritten",
    "end.sealed",
    "end.destroyed",
    "end.gone",
    "key.kept",
    "key.revoked",
];

/// The command with its fail points, which `cargo xtask build --fail-points` puts beside the ordinary one.
///
/// # Errors
/// When it is not there.
pub fn with_fail_points() -> Result<PathBuf> {
    let test = env::current_exe().context("the test does not know where it is")?;
    let target = test.ancestors().nth(3).context("the test lies in no target directory")?;
    let path = target.join("faults/debug/filter-ctl");
    if !path.exists() {
        bail!("there is no {}: cargo xtask build --fail-points", path.display());
    }
    Ok(path)
}
