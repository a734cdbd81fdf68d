//! The command line: a thin client of the daemon.

/// Parses the arguments and does what they say.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
