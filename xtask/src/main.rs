//! `cargo xtask`: sets up, builds, demonstrates, tests, measures and proves the project.
//!
//! Every task needs nothing before it: each one calls those it depends on, and those do nothing when there is nothing
//! to do.

#![forbid(unsafe_code)]

mod bench;
mod build;
mod bypass;
mod ci;
mod demo;
mod fuzz;
mod mutants;
mod prove;
mod setup;
mod steps;
mod test;
mod tool;
mod vm;

use std::process::ExitCode;

use clap::Parser;

/// Sets up, builds, demonstrates, tests, measures and proves the project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Install what is missing, and say what that is
    Setup,
    /// Build the kernel program and the programs of the workspace
    Build(build::Options),
    /// Watch policies take effect on real traffic, in a small world of network namespaces
    Demo,
    /// Run every test of the workspace
    Test {
        /// Only the tests whose name contains this
        filter: Option<String>,
    },
    /// Measure what the filter costs
    #[command(subcommand)]
    Bench(bench::Benchmark),
    /// Run tests on other kernels, in virtual machines
    Vm(vm::Options),
    /// Try every attack of tests/bypass on this kernel and on others, beside nftables; writes docs/bypass.md
    Bypass(bypass::Options),
    /// Formatting, lints, dependencies, documentation and every test
    Ci,
    /// Feed parsers and judges what a fuzzer thinks of
    Fuzz(fuzz::Options),
    /// Break the code on purpose, in a copy, and show that the tests see it
    Mutants {
        /// The mutants to try; all of them when none is named
        names: Vec<String>,
    },
    /// Run the proofs that take longer than a test may
    Prove {
        /// The proofs to run; all of them when none is named
        names: Vec<String>,
        /// Say what there is, and run nothing
        #[arg(long)]
        list: bool,
    },
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Setup => setup::task(),
        Task::Build(options) => build::task(&options),
        Task::Demo => demo::task(),
        Task::Test { filter } => test::task(filter.as_deref()),
        Task::Bench(benchmark) => bench::task(&benchmark),
        Task::Vm(options) => vm::task(&options),
        Task::Bypass(options) => bypass::task(&options),
        Task::Ci => ci::task(),
        Task::Fuzz(options) => fuzz::task(&options),
        Task::Mutants { names } => mutants::task(&names),
        Task::Prove { names, list } => prove::task(&names, list),
    };
    done.unwrap_or_else(|error| {
        eprintln!("\nerror: {error:#}");
        ExitCode::FAILURE
    })
}
