//! Everything is measured once in every round, in a new order each time; worlds are built anew a few times.

use crate::probe::{self, Probe};
use crate::setup::{Installed, Kit, Setup};
use crate::stats::Series;
use crate::world::World;
use anyhow::{Context, Result, anyhow};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr};
use std::thread;
use std::time::{Duration, Instant};

/// What is measured: a probe in the world of a setup.
pub(crate) struct Row {
    /// What it is called; by this its series is found.
    pub(crate) key: &'static str,
    /// The setup.
    pub(crate) setup: &'static str,
    /// The probe.
    pub(crate) probe: Probe,
    /// How long a slice is.
    pub(crate) slice: Duration,
}

/// How long it all may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How often worlds are built anew.
    pub(crate) blocks: u32,
    /// Time of all blocks' rounds together; building comes on top.
    pub(crate) traffic: Duration,
}

/// Series by the keys of their rows.
pub(crate) type Measured = BTreeMap<&'static str, Series>;

/// A world, and what is in it.
struct Stage {
    key: &'static str,
    installed: Installed,
    world: World,
}

/// Measures the rows, and what their programs take by themselves: `KEY.program`, of setups that have one.
pub(crate) fn measure(kit: &Kit, rows: &[Row], frames: &[Vec<u8>], plan: Plan, seed: u64) -> Result<Measured> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut measured = Measured::new();
    for block in 0..plan.blocks {
        let mut keys: Vec<&'static str> = rows.iter().map(|row| row.setup).collect();
        random.shuffle(&mut keys);
        let mut stages: Vec<Stage> = Vec::new();
        for key in keys {
            if stages.iter().all(|stage| stage.key != key) {
                let world = World::new()?;
                stages.push(Stage { key, installed: Setup::of(key).install(kit, &world)?, world });
            }
        }
        let found = on_one_cpu(|| {
            let until = Instant::now() + plan.traffic / plan.blocks;
            rounds(rows, &stages, until, (block + 1, plan.blocks), &mut random)
        })?;
        for (key, values) in found {
            measured.entry(key).or_default().push(values);
        }
        for (key, values) in on_one_cpu(|| programs(&mut stages, frames))? {
            measured.entry(key).or_default().push(values);
        }
    }
    clear_line();
    Ok(measured)
}

/// Runs `work` on a thread of its own that stays on one CPU.
fn on_one_cpu<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let running = scope.spawn(|| probe::stay().and_then(|_| work()));
        running.join().map_err(|_| anyhow!("the measuring thread panicked"))?
    })
}

/// Rounds until the time is over: of each row a value a round.
fn rounds(
    rows: &[Row],
    stages: &[Stage],
    until: Instant,
    (block, blocks): (u32, u32),
    random: &mut fastrand::Rng,
) -> Result<BTreeMap<&'static str, Vec<f64>>> {
    let mut found: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let mut order: Vec<&Row> = rows.iter().collect();
    let mut round = 0;
    while Instant::now() < until || round < 2 {
        round += 1;
        progress(format_args!("worlds {block} of {blocks}, round {round}"));
        random.shuffle(&mut order);
        for row in &order {
            let stage = stages.iter().find(|stage| stage.key == row.setup).context("a row without a world")?;
            // Sockets that the thread opens are the client's.
            stage.world.client.join()?;
            let value = row.probe.run(&stage.world, random, row.slice);
            let value = value.with_context(|| format!("{}: {}", row.key, Setup::of(row.setup).name))?;
            found.entry(row.key).or_default().push(value);
        }
    }
    Ok(found)
}

/// What programs take by themselves, for one frame after the other.
fn programs(stages: &mut [Stage], frames: &[Vec<u8>]) -> Result<BTreeMap<&'static str, Vec<f64>>> {
    /// Runs of a program in a row.
    const REPEAT: u32 = 2_000;
    let mut found: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for frame in frames {
        for stage in stages.iter_mut() {
            let key = match stage.key {
                "empty" => "empty.program",
                "lookup" => "lookup.program",
                "ours" => "ours.program",
                _ => continue,
            };
            if let Some(time) = stage.installed.time(&stage.world, frame, REPEAT)? {
                found.entry(key).or_default().push(time.as_nanos() as f64);
            }
        }
    }
    Ok(found)
}

fn progress(what: std::fmt::Arguments<'_>) {
    if stderr().is_terminal() {
        eprint!("\r\x1b[2K{what}");
        // Progress that is not seen is no reason to end.
        stderr().flush().ok();
    }
}

fn clear_line() {
    if stderr().is_terminal() {
        eprint!("\r\x1b[2K");
    }
}
