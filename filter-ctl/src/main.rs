//! The sandbox filter's daemon and command line.
#![forbid(unsafe_code)]

mod api;
mod cli;
mod daemon;

fn main() -> std::process::ExitCode {
    cli::main()
}
