//! The demonstration: a small private world, a real daemon, and what real clients get under one policy after another.
//!
//! Invariant: everything shown was observed, and everything expected is compared with it. The exit code is 0 only when all of it
//! held and nothing is left behind.
#![forbid(unsafe_code)]

mod destination;
mod interrupt;
mod leftovers;
mod run;
mod screen;
mod steps;
mod table;
mod world;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use test_world::World;

use crate::{leftovers::Traces, screen::Screen};

/// Show a policy take effect on real traffic, in a world of network namespaces that ends with the program.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The program `filter-ctl`
    #[arg(long, value_name = "FILE")]
    filter_ctl: PathBuf,
    /// Where the example documents are
    #[arg(long, value_name = "DIR")]
    examples: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let screen = Screen::new();
    if let Err(error) = interrupt::listen() {
        return screen.failed(&error);
    }
    let started = Instant::now();
    match demonstrate(&options, &screen) {
        Err(error) => screen.failed(&error),
        Ok(()) => verdict(&screen, started.elapsed()),
    }
}

/// Builds the world, tells the story, and takes the world down again, however the story ended.
fn demonstrate(options: &Options, screen: &Screen) -> Result<()> {
    let filter_ctl = options.filter_ctl.canonicalize();
    let filter_ctl = filter_ctl.with_context(|| format!("cannot find {}", options.filter_ctl.display()))?;
    let world = screen.progress("making namespaces", || World::new("demo"))?;
    let mut traces = Traces::of(&world);
    let told = steps::tell(&world, &filter_ctl, &options.examples, screen);
    traces.note();
    screen.progress("taking the world down", || drop(world));
    traces.check(screen);
    told
}

fn verdict(screen: &Screen, took: Duration) -> ExitCode {
    let (held, failed) = screen.expectations();
    screen.blank();
    screen.expect(
        failed == 0,
        &match failed {
            0 => format!("All {held} expectations held, in {:.0} seconds.", took.as_secs_f32()),
            failed => format!("{failed} of {} expectations did not hold.", held + failed),
        },
    );
    ExitCode::from(u8::from(failed > 0))
}
