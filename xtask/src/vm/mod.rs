//! `cargo xtask vm`: the tests on other kernels, in virtual machines.
//!
//! A machine boots a kernel of a package that was unpacked and not installed, with [`initramfs`] in memory: modules and `tests/guest-init`. That
//! mounts this host's file system read-only ([`machine`]), runs the test programs where they were built, and tells what became of them.

mod initramfs;
mod kernel;
pub(crate) mod machine;
pub(crate) mod suites;

use crate::build;
use crate::setup;
use crate::steps::Seconds;
use crate::tool;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use kernel::Kernel;
use machine::Console;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;
use suites::{Suites, Tests};

/// Kernels that the filter is held against, oldest first.
const KERNELS: [&str; 2] = ["6.1", "6.12"];

/// Which kernels, suites and tests.
#[derive(Args)]
pub(crate) struct Options {
    /// Kernels: 6.1, 6.12, or all
    kernels: Vec<String>,
    /// Only this suite: table, bypass or scenarios
    #[arg(long)]
    suite: Option<String>,
    /// Only the tests whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// All scenarios, not only those that are chosen for being different between kernels
    #[arg(long, conflicts_with = "filter")]
    whole: bool,
    /// How long one machine may run, in minutes
    #[arg(long, default_value_t = 30)]
    minutes: u64,
}

/// A row of the table.
struct Row {
    kernel: String,
    suite: String,
    passed: usize,
    failed: usize,
    took: Duration,
    /// Whether it came to an end by itself, with success.
    good: bool,
}

/// Runs a few of the tests on each kernel.
///
/// # Errors
/// When one fails, or a machine does.
pub(crate) fn few() -> Result<()> {
    prepare()?;
    let rows = run(&KERNELS, &suites::build(None, &Tests::Few)?, Duration::from_secs(600))?;
    ensure!(rows.iter().all(|row| row.good), "there are failures on other kernels");
    Ok(())
}

/// Runs the tests on each kernel.
pub(crate) fn task(options: &Options) -> Result<ExitCode> {
    prepare()?;
    let tests = match &options.filter {
        Some(part) => Tests::Named(part),
        None if options.whole => Tests::Whole,
        None => Tests::Chosen,
    };
    let suites = suites::build(options.suite.as_deref(), &tests)?;
    let rows = run(&chosen(&options.kernels), &suites, Duration::from_secs(60 * options.minutes))?;
    Ok(if rows.iter().all(|row| row.good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs suites on kernels, and prints what has become of them. `at_most` is for one machine.
fn run(kernels: &[&str], suites: &Suites, at_most: Duration) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for series in kernels {
        let (release, console) = boot(series, suites, at_most)?;
        rows.extend(told(&release, &suites.names(), &console, suites.may_be_empty()));
    }
    println!("\n{}", table(&rows));
    Ok(rows)
}

/// Builds and installs what machines need.
pub(crate) fn prepare() -> Result<()> {
    if !tool::is_root() {
        bail!("machines share this host's file system as root sees it\n  hint: run the same command with sudo");
    }
    build::everything(&build::Options::default())?;
    setup::ensure_virtual_machines()
}

/// The kernels that were asked for; all of them for none.
pub(crate) fn chosen(kernels: &[String]) -> Vec<&str> {
    match kernels {
        [] => KERNELS.to_vec(),
        some if some.iter().any(|name| name == "all") => KERNELS.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    }
}

/// What was on the consoles of the machines that ran last.
pub(crate) fn kept() -> Result<String> {
    let folder = kernel::folder().join("logs");
    let logs = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let texts = logs.map(|log| Ok(String::from_utf8_lossy(&fs::read(log?.path())?).into_owned() + "\n"));
    texts.collect()
}

/// Boots the newest kernel of a series and runs suites there; its release, and what was on its console.
pub(crate) fn boot(series: &str, suites: &Suites, at_most: Duration) -> Result<(String, Console)> {
    let kernel = Kernel::get(series)?;
    eprintln!("\n── {}", kernel.release);
    let image = initramfs::make(&kernel, &initramfs::init()?, suites)?;
    let console = machine::run(&kernel, &image, at_most)?;
    Ok((kernel.release, console))
}

/// What a machine has told of each suite; one that it says nothing of has failed.
fn told(kernel: &str, suites: &[String], console: &Console, may_be_empty: bool) -> Vec<Row> {
    let row = |suite: &String| {
        let told = console.suites.iter().find(|told| told.verdict.name == *suite);
        let (passed, failed) = told.map_or((0, 0), |told| (told.passed, told.failed));
        Row {
            kernel: kernel.to_owned(),
            suite: suite.clone(),
            passed,
            failed,
            took: told.map_or(Duration::ZERO, |told| Duration::from_millis(told.verdict.took_ms)),
            good: told.is_some_and(|told| told.verdict.code == 0 && (told.passed > 0 || may_be_empty)),
        }
    };
    suites.iter().map(row).collect()
}

fn table(rows: &[Row]) -> String {
    let widest = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).len()).max().unwrap_or(0);
    let (kernel, suite) = (widest(|row| &row.kernel), widest(|row| &row.suite));
    let lines = rows.iter().map(|row| {
        let result = if row.good { "ok" } else { "FAILED" };
        format!(
            "  {:kernel$}  {:suite$}  {:6}  {:>5} passed  {:>4} failed  {:>12}\n",
            row.kernel,
            row.suite,
            result,
            row.passed,
            row.failed,
            Seconds(row.took).to_string()
        )
    });
    lines.collect()
}
