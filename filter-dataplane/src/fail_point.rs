//! Places where the process kills itself when it is told to, to show that it may die anywhere.
//!
//! Only with the feature `fail-points`, which no ordinary build has: without it, reaching a point does nothing.

use std::fmt::Display;

/// Environment variable with the path of the file that names the point to die at. The file is read whenever a point is reached,
/// so a point can be chosen while the process runs; no file, no death.
#[cfg(feature = "fail-points")]
const VARIABLE: &str = "SANDBOX_FILTER_FAIL_POINT";

/// Kills the process with SIGKILL if `point` is the one that is named, having told so on standard error.
#[cfg(feature = "fail-points")]
pub fn fail_point(point: impl Display) {
    use nix::sys::signal::{Signal, kill};
    let Some(file) = std::env::var_os(VARIABLE) else { return };
    let named = std::fs::read_to_string(file).unwrap_or_default();
    let point = point.to_string();
    if named.trim() == point {
        eprintln!("fail point {point}: killed");
        kill(nix::unistd::Pid::this(), Signal::SIGKILL).expect("a process may kill itself");
        // The signal may be delivered to another thread first: this one goes no step further.
        loop {
            std::thread::park();
        }
    }
}

/// Does nothing: the feature `fail-points` is off.
#[cfg(not(feature = "fail-points"))]
#[inline(always)]
pub fn fail_point(_point: impl Display) {}
