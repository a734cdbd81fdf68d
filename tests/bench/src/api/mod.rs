//! What the API over TCP costs: an update of one client, updates of many, and a daemon that starts with many sandboxes.

mod client;
mod floors;
mod many;
mod one;
mod start;
mod world;

use crate::report::Report;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::ExitCode;
use world::World;

/// Sandboxes of the daemon.
const SANDBOXES: u32 = 1_000;
/// The page that a whole run writes its part of.
const PAGE: &str = "benchmarks.md";

/// How it is measured.
#[derive(clap::Args)]
pub(crate) struct Arguments {
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
    let mut report = Report::new("api", "API", "cargo xtask bench api");
    let rounds = if arguments.short { 60 } else { 300 };
    let mut world = World::new(SANDBOXES)?;
    report.add(one::measure(&world, rounds).context("one client")?);
    report.add(many::measure(&world, arguments.short).context("many clients")?);
    report.add(start::measure(&mut world, if arguments.short { 2 } else { 5 }).context("a start")?);
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
