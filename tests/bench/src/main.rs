//! `bench`: what the filter costs, beside its floors and its rivals. `cargo xtask bench` builds what it needs and runs it.
#![forbid(unsafe_code)]

mod chart;
mod control;
mod figure;
mod kernel;
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
    Names(names::Arguments),
    /// Copies connections, for the benchmark of names
    #[command(hide = true)]
    Copy(names::copy::Arguments),
}

fn main() -> ExitCode {
    // The program is its own daemon, so that both are of one build.
    if std::env::args().nth(1).as_deref() == Some("daemon") {
        return filter_ctl::cli::main();
    }
    let done = match Benchmark::parse() {
        Benchmark::Kernel(arguments) => private::enter().and_then(|()| kernel::run(&arguments)),
        Benchmark::Names(arguments) => private::enter().and_then(|()| names::run(&arguments)),
        Benchmark::Copy(arguments) => names::copy::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("\nerror: {error:#}");
        ExitCode::FAILURE
    })
}
