//! `bench`: what the filter costs, beside its floors and its rivals. `cargo xtask bench` builds what it needs and runs it.
#![forbid(unsafe_code)]

#[cfg(feature = "daemon")]
mod api;
#[cfg(feature = "daemon")]
mod cgroups;
mod chart;
#[cfg(feature = "daemon")]
mod control;
mod figure;
mod kernel;
#[cfg(feature = "daemon")]
mod names;
mod private;
mod probe;
mod report;
mod rounds;
mod setup;
mod spread;
mod stats;
mod world;

use clap::Parser;
use std::process::ExitCode;

/// Measures the filter.
#[derive(Parser)]
enum Benchmark {
    /// What a packet and an update cost
    Kernel(kernel::Arguments),
    /// What a connection costs that is judged by its name
    #[cfg(feature = "daemon")]
    Names(names::Arguments),
    /// What calls of the API cost
    #[cfg(feature = "daemon")]
    Api(api::Arguments),
    /// What the sockets of a cgroup cost, and a command in a sandbox
    #[cfg(feature = "daemon")]
    Cgroups(cgroups::Arguments),
    /// Copies connections, for the benchmark of names
    #[cfg(feature = "daemon")]
    #[command(hide = true)]
    Copy(names::copy::Arguments),
}

fn main() -> ExitCode {
    // The program is its own daemon and its own command line, so that all are of one build.
    #[cfg(feature = "daemon")]
    if std::env::args().any(|word| matches!(word.as_str(), "daemon" | "run" | "run-keep" | "run-enter")) {
        return filter_ctl::cli::main();
    }
    let done = match Benchmark::parse() {
        Benchmark::Kernel(arguments) => private::enter().and_then(|()| kernel::run(&arguments)),
        #[cfg(feature = "daemon")]
        Benchmark::Names(arguments) => private::enter().and_then(|()| names::run(&arguments)),
        #[cfg(feature = "daemon")]
        Benchmark::Api(arguments) => private::enter().and_then(|()| api::run(&arguments)),
        #[cfg(feature = "daemon")]
        Benchmark::Cgroups(arguments) => private::enter().and_then(|()| cgroups::run(&arguments)),
        #[cfg(feature = "daemon")]
        Benchmark::Copy(arguments) => names::copy::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("\nerror: {error:#}");
        ExitCode::FAILURE
    })
}
