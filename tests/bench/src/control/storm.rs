//! Updates of many sandboxes at the same time.

use super::yard::Yard;
use super::{daemon::Daemon, many::document};
use crate::figure::{Estimate, Figure, Unit};
use crate::report::Section;
use crate::stats::{Series, estimate};
use anyhow::{Context, Result, ensure};
use filter_ctl::api::Change;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use test_scenarios::Local;

/// Sandboxes that are updated.
const SANDBOXES: u32 = 500;
/// Updates one after the other.
const ALONE: u32 = 60;
/// Storms.
const STORMS: u32 = 5;

pub(super) fn measure() -> Result<Section> {
    let yard = Yard::new(SANDBOXES)?;
    let daemon = Daemon::start("storm", &yard.netns, "")?;
    let local = daemon.local();
    let documents: Vec<_> = (0..SANDBOXES).map(|at| document(at, 0)).collect();
    local.apply(&documents)?;
    let mut alone = Vec::new();
    for at in 0..ALONE {
        let started = Instant::now();
        update(&local, at, 1)?;
        alone.push(started.elapsed().as_nanos() as f64);
    }
    let (mut each, mut longest) = (Vec::new(), Vec::new());
    for round in 2..2 + STORMS {
        let (whole, one) = storm(&local, round)?;
        each.push(whole.as_nanos() as f64 / f64::from(SANDBOXES));
        longest.push(one.as_nanos() as f64);
    }
    let of = |values: &[f64]| estimate(&[&single(values)], |medians| medians[0]);
    let share =
        estimate(&[&vec![each.clone()], &vec![alone.iter().copied().take(each.len()).collect()]], |m| m[0] / m[1]);
    Ok(Section::new("A storm of updates")
        .text(format!(
            "{SANDBOXES} sandboxes, each updated by a call of its own to the daemon, all at the same time: the time until all are \
             confirmed and on disk, divided by their number. Calls that come at the same time share the kernel's grace periods and the \
             disk's syncs. {STORMS} storms, and {ALONE} updates one after the other."
        ))
        .figure(
            Figure::new("an update among 500 at the same time", Unit::Nanoseconds, of(&each))
                .beside("an update alone", of(&alone))
                .aim("an update alone", 0.5, Estimate { interval: None, ..share }, "one file for the records of many"),
        )
        .figure(Figure::new("until the last of 500 is answered", Unit::Nanoseconds, of(&longest))))
}

/// Updates all at the same time; how long until all have, and the longest that one took.
fn storm(local: &Local, round: u32) -> Result<(Duration, Duration)> {
    let barrier = Barrier::new(SANDBOXES as usize);
    thread::scope(|scope| {
        let one = |at| {
            let barrier = &barrier;
            scope.spawn(move || -> Result<(Instant, Instant)> {
                barrier.wait();
                let started = Instant::now();
                update(local, at, round)?;
                Ok((started, Instant::now()))
            })
        };
        let all: Vec<_> = (0..SANDBOXES).map(one).collect();
        let times = all.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let times: Vec<_> = times.collect::<Result<_>>()?;
        let begun = times.iter().map(|(begun, _)| *begun).min().context("somebody is updated")?;
        let ended = times.iter().map(|(_, ended)| *ended).max().context("somebody is updated")?;
        let longest = times.iter().map(|(begun, ended)| *ended - *begun).max().context("somebody is updated")?;
        Ok((ended - begun, longest))
    })
}

fn update(local: &Local, at: u32, round: u32) -> Result<()> {
    let reply = local.apply(&[document(at, round)])?;
    ensure!(reply.results.iter().all(|applied| applied.change == Change::Updated), "not updated: {reply:?}");
    Ok(())
}

fn single(values: &[f64]) -> Series {
    vec![values.to_vec()]
}
