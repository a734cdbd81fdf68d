//! Whether a CPU stands still while the kernel frees a large policy.

use super::lists;
use super::yard::{Filter, Yard, slot};
use crate::figure::{Estimate, Figure, Force, Target, Unit};
use crate::report::Section;
use crate::stats::median;
use anyhow::Result;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Prefixes of the policy that is freed.
const PREFIXES: u32 = 1_000_000;
/// How often.
const ROUNDS: u32 = 8;
/// How long a stretch is looked at: a grace period and the freeing after it take less.
const STRETCH: Duration = Duration::from_millis(250);
/// A CPU that is not the probe's for longer has stalled. The scheduler's own turns are shorter.
const STALL: f64 = 20e6;

pub(super) fn measure() -> Result<Section> {
    let yard = Yard::new(1)?;
    let mut filter = Filter::new("freeing")?;
    filter.attach(&yard, 0, 1, &lists::compiled(0, 1))?;
    let (mut large, mut nothing) = (lists::compiled(PREFIXES, 0), lists::compiled(0, 0));
    let (mut idle, mut freed) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        large.first.set_policy(2 * round, large.capture);
        nothing.first.set_policy(2 * round + 1, nothing.capture);
        filter.dataplane().switch(slot(0), &large)?;
        idle.push(longest_gap(|| Ok(()))?);
        freed.push(longest_gap(|| Ok(filter.dataplane().switch(slot(0), &nothing)?))?);
    }
    let ends = |values: &[f64]| {
        let (low, high) =
            (values.iter().copied().fold(f64::INFINITY, f64::min), values.iter().copied().fold(0.0, f64::max));
        Estimate::new(median(&mut values.to_vec()), low, high)
    };
    let (idle, freed) = (ends(&idle), ends(&freed));
    let target = Target {
        force: Force::Must,
        of: "standing still".to_owned(),
        limit: STALL,
        reached: freed,
        unit: Unit::Nanoseconds,
        next: String::new(),
    };
    Ok(Section::new("Freeing a policy of 1,000,000 prefixes")
        .text(format!(
            "A thread on each CPU reads the clock without a pause; the longest time between two readings in {} ms, from the switch to \
             another policy on. Medians of {ROUNDS} rounds; the interval spans them.",
            STRETCH.as_millis()
        ))
        .figure(
            Figure::new("longest gap while it is freed", Unit::Nanoseconds, freed)
                .beside("in an idle stretch", idle)
                .target(target),
        ))
}

/// The longest that a CPU was not the probe's while `work` was done and the rest of a stretch, in nanoseconds.
fn longest_gap(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let probe = |cpu| {
            scope.spawn({
                let over = &over;
                move || gap(cpu, over)
            })
        };
        let probes: Vec<_> = cpus()?.into_iter().map(probe).collect();
        let started = Instant::now();
        let worked = work();
        thread::sleep(STRETCH.saturating_sub(started.elapsed()));
        over.store(true, Ordering::Relaxed);
        let gaps: Vec<Result<Duration>> = probes
            .into_iter()
            .map(|probe| probe.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        worked?;
        let longest = gaps.into_iter().collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or_default();
        Ok(longest.as_nanos() as f64)
    })
}

fn gap(cpu: usize, over: &AtomicBool) -> Result<Duration> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        let now = Instant::now();
        longest = longest.max(now - last);
        last = now;
    }
    Ok(longest)
}

fn cpus() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}
