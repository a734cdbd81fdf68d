//! Swaps by the daemon, asked for on its socket: acknowledged is what its caller is told.

use super::lane::Backlog;
use super::load::{Load, timed};
use super::policy::Policy;
use super::swaps::Swaps;
use super::{Report, document, world};
use anyhow::{Result, ensure};
use std::sync::Arc;
use test_scenarios::{Daemon, Local};

/// Swaps so many times. The program is the one that is shipped, so nothing is recorded.
///
/// # Errors
/// Without root, what the daemon refused, or all that is otherwise than it must be.
pub fn through_the_daemon(swaps: u32) -> Result<Report> {
    let (world, sandbox) = world("acknowledged")?;
    let daemon = Daemon::start(&world, "")?;
    let (local, mut log) = (Local::new(daemon.socket()), Swaps::default());
    let apply = |generation: u32| {
        let reply = local.apply(&[document(&sandbox, None, Policy::of(generation))])?;
        let told = reply.results.first().map(|applied| applied.generation);
        ensure!(told == Some(generation), "generation {generation} was due: {reply:?}");
        Ok(())
    };
    timed(&mut log, || apply(1))?;
    let backlog = Arc::new(Backlog::default());
    backlog.without_reader();
    let load = Load::start(&sandbox, world.internet(), &backlog)?;
    let swapped = load.carry_on().and_then(|()| {
        (2..=swaps + 1).try_for_each(|generation| {
            timed(&mut log, || apply(generation))?;
            load.carry_on()
        })
    });
    let outcome = load.finish()?;
    let mut faults = outcome.faults(&log);
    faults.extend(swapped.err().map(|error| format!("{error:#}")));
    Report::of(&outcome, &log, None, &faults)
}
