//! What a packet costs on its way through the kernel, and what an update costs.

mod frame;
mod recorded;
mod rows;
mod sections;

#[cfg(feature = "daemon")]
use crate::control;
use crate::report::Report;
use crate::rounds::{self, Frames, Plan};
use crate::setup::Kit;
use anyhow::{Context, Result};
use recorded::Recorded;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How it is measured.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder with the kernel programs
    #[arg(long)]
    objects: PathBuf,
    /// The kernel program to measure
    #[arg(long, value_parser = ["filter", "slow"], default_value = "filter")]
    program: String,
    /// Measure for less than a minute, and fail only when the recorded ratios are not met three times in a row
    #[arg(long)]
    short: bool,
    /// How long packets are measured, building included
    #[arg(long)]
    seconds: Option<u32>,
    /// Measure only what packets, or only what updates cost
    #[arg(long, value_parser = ["packets", "updates"])]
    only: Option<String>,
    /// What an earlier run has recorded
    #[arg(long)]
    recorded: PathBuf,
    /// Write the page, its chart and the record into this folder
    #[arg(long)]
    write: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Names of the files that a whole run writes.
const PAGE: &str = "benchmarks.md";
const CHART: &str = "benchmarks.svg";
const RECORD: &str = "benchmarks.json";

/// Measures and reports. Anything that must hold and does not is a failure.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let kit = Kit::new(&arguments.objects, arguments.program == "slow")?;
    let (blocks, seconds) = if arguments.short { (8, 48) } else { (8, 300) };
    let plan = Plan { blocks, time: Duration::from_secs(arguments.seconds.unwrap_or(seconds).into()) };
    let seed = fastrand::u64(..);
    if arguments.short {
        return short(arguments, &kit, plan, seed);
    }
    let mut report = Report::new("kernel", "The kernel path", "cargo xtask bench kernel");
    let only = arguments.only.as_deref();
    let measured = match only {
        Some("updates") => None,
        _ => Some(rounds::measure(&kit, &rows::whole(), &frame::frames(), plan, seed)?),
    };
    if let Some(measured) = &measured {
        sections::add(&mut report, measured, CHART);
    }
    #[cfg(feature = "daemon")]
    if only != Some("packets") {
        control::measure(&mut report)?;
    }
    show(arguments, &report)?;
    if let (Some(folder), Some(measured), None) = (&arguments.write, &measured, only) {
        report.write_page(&folder.join(PAGE))?;
        let chart = folder.join(CHART);
        fs::write(&chart, sections::chart(measured)).with_context(|| format!("cannot write {}", chart.display()))?;
        Recorded::of(measured).write(&folder.join(RECORD))?;
    }
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Compares the two ratios that matter most with the recorded ones. What other work on the machine did to them is gone when they are
/// measured again; what the program does stays.
fn short(arguments: &Arguments, kit: &Kit, plan: Plan, seed: u64) -> Result<ExitCode> {
    const TRIES: u64 = 3;
    let recorded = Recorded::read(&arguments.recorded)?;
    for number in 0..TRIES {
        let mut report = Report::new("kernel", "The kernel path, in short", "cargo xtask bench kernel --short");
        let measured = rounds::measure(kit, &rows::short(), &Frames::default(), plan, seed.wrapping_add(number))?;
        let now = Recorded::of(&measured);
        report.add(sections::short(&measured, &now.against(&recorded)));
        show(arguments, &report)?;
        if report.holds() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    Ok(ExitCode::FAILURE)
}

fn show(arguments: &Arguments, report: &Report) -> Result<()> {
    if arguments.json {
        print!("{}", report.json()?);
    } else {
        print!("{}", report.terminal());
    }
    Ok(())
}
