//! `bench`: what the filter costs, beside its floors and its rivals. `cargo xtask bench` builds what it needs and runs it.
#![forbid(unsafe_code)]

mod control;
mod figure;
mod report;

use clap::Parser;
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures the filter.
#[derive(Parser)]
struct Arguments {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write the report's section of this page
    #[arg(long)]
    page: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run(&arguments).unwrap_or_else(|error| {
        eprintln!("\nerror: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut report = Report::new("kernel", "The kernel path", "cargo xtask bench kernel");
    control::measure(&mut report)?;
    if arguments.json {
        println!("{}", report.json()?);
    } else {
        print!("{}", report.terminal());
    }
    if let Some(page) = &arguments.page {
        report.write_page(page)?;
    }
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
