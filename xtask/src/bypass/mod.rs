//! `cargo xtask bypass`: every attack of `tests/bypass`, on this kernel and in virtual machines, as a table.

mod report;

use crate::tool::{self, Tool};
use crate::vm::machine::ROW;
use crate::vm::suites::Tests;
use crate::vm::{self, suites};
use anyhow::{Context, Result, bail};
use clap::Args;
use report::Report;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

/// Where the table is.
const FILE: &str = "docs/bypass.md";

/// Which kernels and attacks.
#[derive(Args)]
pub(crate) struct Options {
    /// Other kernels than this one: 6.1, 6.12, all or none
    #[arg(default_value = "all")]
    kernels: Vec<String>,
    /// Take what machines have told before from the consoles that were kept
    #[arg(long)]
    kept: bool,
    /// Only the attacks whose name contains this; writes nothing
    #[arg(long)]
    filter: Option<String>,
    /// Write nothing to docs
    #[arg(long)]
    dry: bool,
    /// How long one machine may run, in minutes
    #[arg(long, default_value_t = 30)]
    minutes: u64,
}

/// Tries all, and writes the table.
pub(crate) fn task(options: &Options) -> Result<ExitCode> {
    vm::prepare()?;
    let filter = options.filter.as_deref();
    let mut report = Report::default();
    let mut good = here(filter, &mut report)?;
    let kernels: Vec<String> = options.kernels.iter().filter(|name| *name != "none").cloned().collect();
    if options.kept {
        for line in vm::kept()?.lines() {
            line.strip_prefix(ROW).map_or(Ok(()), |row| report.add(row))?;
        }
    } else if !kernels.is_empty() {
        let suites = suites::build(Some(suites::BYPASS), &filter.map_or(Tests::Chosen, Tests::Named))?;
        for series in vm::chosen(&kernels) {
            let (_, console) = vm::boot(series, &suites, Duration::from_secs(60 * options.minutes))?;
            good &= console.suites.iter().all(|told| told.verdict.code == 0);
            console.rows.iter().try_for_each(|row| report.add(row))?;
        }
    }
    println!("\n{}", report.summary());
    if !good {
        bail!("an attack got through, or could not be tried: nothing is written");
    }
    if filter.is_none() && !options.dry {
        fs::write(tool::root().join(FILE), report.page()).with_context(|| format!("cannot write {FILE}"))?;
        eprintln!("{FILE} is written");
    }
    Ok(ExitCode::SUCCESS)
}

/// Tries them on this kernel, beside nftables. Returns whether all went as it should.
fn here(filter: Option<&str>, report: &mut Report) -> Result<bool> {
    let program = suites::program("test-bypass", suites::BYPASS)?;
    let mut added = Ok(());
    let status =
        Tool::new(program).args(filter).env("BYPASS_COMPARE", "1").env("BYPASS_ROWS", "1").env("CI", "true").lines(
            |line| match line.strip_prefix(ROW) {
                Some(row) if added.is_ok() => added = report.add(row),
                Some(_) => {}
                None => println!("{line}"),
            },
        )?;
    added?;
    Ok(status.success())
}
