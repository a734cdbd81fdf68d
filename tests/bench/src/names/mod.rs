//! What a connection costs that is judged by its name, beside relays that do the like.

mod alone;
pub(crate) mod copy;
mod hello;
mod idle;
mod list;
mod load;
mod peers;
mod place;
mod rounds;
mod sections;
mod server;

use crate::probe;
use crate::report::Report;
use anyhow::{Context, Result, anyhow};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// The name that is asked for.
const NAME: &str = "service.bench.test";
/// The page that a whole run writes its part of.
const PAGE: &str = "benchmarks.md";

/// How it is measured.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Measure for less than a minute
    #[arg(long)]
    short: bool,
    /// How long connections are measured, building included
    #[arg(long)]
    seconds: Option<u32>,
    /// Write the page into this folder
    #[arg(long)]
    write: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Measures and reports. Anything that must hold and does not is a failure.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let cpu = thread::spawn(probe::stay).join().map_err(|_| anyhow!("the measuring thread panicked"))??;
    // Both ends of ten thousand connections are here; the relays inherit it.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("the limit of descriptors")?;
    let (blocks, seconds) = if arguments.short { (2, 40) } else { (8, 300) };
    let time = Duration::from_secs(arguments.seconds.unwrap_or(seconds).into());
    let mut report = Report::new("names", "Names", "cargo xtask bench names");
    let idle = idle::measure(cpu, most)?;
    let measured = rounds::measure(cpu, blocks, time)?;
    sections::add(&mut report, &measured);
    report.add(idle);
    report.add(list::measure());
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
