//! What the sockets of a cgroup cost that is a sandbox, beside those of one that nobody holds; and what `filter-ctl run` costs, beside the bare command.

mod command;
mod place;
mod sockets;

use crate::report::Report;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::ExitCode;

/// The page that a whole run writes its part of.
const PAGE: &str = "benchmarks.md";

/// How it is measured.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder with the kernel programs
    #[arg(long)]
    objects: PathBuf,
    /// Measure for less than a minute
    #[arg(long)]
    short: bool,
    /// Write the page into this folder
    #[arg(long)]
    write: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Measures and reports. Anything that must hold and does not is a failure.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut report = Report::new("cgroups", "Cgroups and commands", "cargo xtask bench cgroups");
    let (blocks, rounds) = if arguments.short { (2, 60) } else { (6, 250) };
    let (packets, connections) = sockets::measure(&arguments.objects, blocks, rounds).context("sockets of a cgroup")?;
    report.add(packets);
    report.add(connections);
    report.add(command::measure(if arguments.short { 5 } else { 20 }).context("a command")?);
    if arguments.json {
        print!("{}", report.json()?);
    } else {
        print!("{}", report.terminal());
    }
    if let Some(folder) = &arguments.write {
        report.write_page(&folder.join(PAGE))?;
    }
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
