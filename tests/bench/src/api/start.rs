//! A daemon that starts with many sandboxes in its store, and the memory that it takes.

use super::world::World;
use crate::figure::{Estimate, Figure, Force, Target, Unit};
use crate::report::Section;
use crate::stats::median;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::time::Instant;

/// How long it may take, in nanoseconds.
const MOST: f64 = 3e9;
/// What it may take for itself and for each sandbox, in bytes.
const MEMORY: (f64, f64) = (40e6, 12e3);

pub(super) fn measure(world: &mut World, rounds: u32) -> Result<Section> {
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let started = Instant::now();
        world.daemon.restart(&world.yard.netns)?;
        let active = world.active()?;
        times.push(started.elapsed().as_nanos() as f64);
        ensure!(active == world.count as usize, "{active} of {} sandboxes are enforced", world.count);
        memory.push(resident(world.daemon.pid())?);
    }
    let spread = |values: &[f64]| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        Estimate::new(median(&mut values.to_vec()), low, values.iter().copied().fold(0.0, f64::max))
    };
    let (time, memory) = (spread(&times), spread(&memory));
    let must = |of: &str, limit, reached, unit| Target {
        force: Force::Must,
        of: of.to_owned(),
        limit,
        reached,
        unit,
        next: String::new(),
    };
    let most = MEMORY.0 + MEMORY.1 * f64::from(world.count);
    Ok(Section::new("A start with 1,000 sandboxes")
        .text(
            "A daemon is killed and started again: from then until it answers with all sandboxes and enforces each of them. Their devices \
             are filtered all the while. Memory is what of the daemon is resident (`VmRSS`) then.",
        )
        .figure(
            Figure::new("until all are in force", Unit::Nanoseconds, time)
                .target(must("3 s", MOST, time, Unit::Nanoseconds)),
        )
        .figure(
            Figure::new("the daemon's memory", Unit::Bytes, memory)
                .target(must("40 MB and 12 kB a sandbox", most, memory, Unit::Bytes)),
        ))
}

/// A process's resident memory, in bytes.
fn resident(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}
