//! `cargo xtask test`: builds everything, then runs every test of the workspace as root.

mod tally;

use std::{env, process::ExitCode, time::Instant};

use anyhow::{Context, Result, bail};

pub(crate) use tally::Tally;

use crate::{
    build,
    setup::clients,
    steps::Seconds,
    tool::{self, Tool},
};

/// Runs the tests; the last line is their sum.
pub(crate) fn task(filter: Option<&str>) -> Result<ExitCode> {
    let mut tally = Tally::default();
    let start = Instant::now();
    let result = run(filter, &mut tally);
    if let Err(error) = &result {
        eprintln!("\nerror: {error:#}");
    }
    eprintln!("\n{} ignored, {} skipped, {}", tally.ignored, tally.skipped.len(), Seconds(start.elapsed()));
    println!("{tally}");
    Ok(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sets up, builds, and runs the tests whose name contains the filter, adding them up.
pub(crate) fn run(filter: Option<&str>, tally: &mut Tally) -> Result<()> {
    // Until the tests have run, not even that they can be built is known.
    tally.failed = 1;
    build::everything(&build::Options { fail_points: true, ..build::Options::default() })?;
    clients::ensure()?;
    Tool::cargo("test").args(["--workspace", "--no-run"]).run()?;
    tally.failed = 0;

    let mut cargo = Tool::cargo("test").args(["--workspace", "--no-fail-fast"]);
    if let Some(sudo) = tool::sudo()? {
        // Tests that make namespaces and load programs need root; cargo itself must not leave root's files behind.
        cargo = cargo.env(&runner_variable()?, format!("{} -E --", sudo.display()));
    }
    let status = cargo.args(filter).args(["--", "--show-output"]).lines(|line| {
        if tally.line(line) {
            println!("{line}");
        }
    })?;
    tally.end(status.success());

    for skipped in &tally.skipped {
        eprintln!("\n!!! SKIPPED: {skipped}");
    }
    if tally.failed > 0 {
        bail!("the tests failed ({status})");
    }
    if !tally.skipped.is_empty() && env::var("CI").is_ok_and(|ci| ci == "true") {
        bail!("tests were skipped, which CI does not accept: install what they miss");
    }
    Ok(())
}

/// The variable in which cargo looks for the program that runs the host's test programs.
fn runner_variable() -> Result<String> {
    let words = Tool::new("rustc").arg("-vV").output()?;
    let host = words.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(format!("CARGO_TARGET_{}_RUNNER", host.trim().to_uppercase().replace(['-', '.'], "_")))
}
