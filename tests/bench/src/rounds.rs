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
    /// Slices in a round, of which the mean is taken: what matters most is measured more often.
    pub(crate) slices: u32,
}

/// How long it all may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How often worlds are built anew.
    pub(crate) blocks: u32,
    /// Time of the whole, building included. Where building takes longer than it should, fewer rounds are measured.
    pub(crate) time: Duration,
}

/// Rounds of a block, at the least.
const FEWEST: u32 = 5;

/// Series by the keys of their rows; `KEY.cpu` is by the thread's own time, and `KEY.program` what a program takes by itself.
pub(crate) type Measured = BTreeMap<String, Series>;

/// What one block found: of each row a value a round.
type Found = BTreeMap<String, Vec<f64>>;

/// Frames for runs of a program without the packet's way.
#[derive(Default)]
pub(crate) struct Frames {
    /// To destinations of the list.
    pub(crate) allowed: Vec<Vec<u8>>,
    /// To others.
    pub(crate) denied: Vec<Vec<u8>>,
}

/// A world, and what is in it.
struct Stage {
    key: &'static str,
    installed: Installed,
    world: World,
}

/// Measures the rows, and what their programs take by themselves.
pub(crate) fn measure(kit: &Kit, rows: &[Row], frames: &Frames, plan: Plan, seed: u64) -> Result<Measured> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut measured = Measured::new();
    let begun = Instant::now();
    for block in 0..plan.blocks {
        let mut keys: Vec<&'static str> = rows.iter().map(|row| row.setup).collect();
        random.shuffle(&mut keys);
        progress(format_args!("worlds {} of {}: building", block + 1, plan.blocks));
        let mut stages: Vec<Stage> = Vec::new();
        for key in keys {
            if stages.iter().all(|stage| stage.key != key) {
                let world = World::new()?;
                stages.push(Stage { key, installed: Setup::of(key).install(kit, &world)?, world });
            }
        }
        let found = on_one_cpu(|| {
            let until = begun + plan.time * (block + 1) / plan.blocks;
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

/// Rounds until the time is over.
fn rounds(
    rows: &[Row],
    stages: &[Stage],
    until: Instant,
    (block, blocks): (u32, u32),
    random: &mut fastrand::Rng,
) -> Result<Found> {
    let mut found: Found = Found::new();
    let mut order: Vec<&Row> = rows.iter().flat_map(|row| (0..row.slices).map(move |_| row)).collect();
    let mut round = 0;
    while Instant::now() < until || round < FEWEST {
        round += 1;
        let left = until.saturating_duration_since(Instant::now()).as_secs();
        progress(format_args!("worlds {block} of {blocks}: round {round}, {left} s left"));
        random.shuffle(&mut order);
        let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for row in &order {
            let stage = stages.iter().find(|stage| stage.key == row.setup).context("a row without a world")?;
            // Sockets that the thread opens are the client's.
            stage.world.client.join()?;
            let value = row.probe.run(&stage.world, random, row.slice);
            let value = value.with_context(|| format!("{}: {}", row.key, Setup::of(row.setup).name))?;
            let (wall, cpu) = sums.entry(row.key).or_default();
            *wall += value.wall / f64::from(row.slices);
            *cpu += value.cpu / f64::from(row.slices);
        }
        for (key, (wall, cpu)) in sums {
            found.entry(key.to_owned()).or_default().push(wall);
            found.entry(format!("{key}.cpu")).or_default().push(cpu);
        }
    }
    Ok(found)
}

/// What programs take by themselves, for one frame after the other.
fn programs(stages: &mut [Stage], frames: &Frames) -> Result<Found> {
    /// Runs of a program in a row.
    const REPEAT: u32 = 2_000;
    let mut found: Found = Found::new();
    let mut time = |key: &str, stage: &mut Stage, frame: &[u8]| -> Result<()> {
        if let Some(time) = stage.installed.time(&stage.world, frame, REPEAT)? {
            found.entry(format!("{key}.program")).or_default().push(time.as_nanos() as f64);
        }
        Ok(())
    };
    for (allowed, denied) in frames.allowed.iter().zip(&frames.denied) {
        for stage in stages.iter_mut() {
            match stage.key {
                "empty" | "lookup" => time(stage.key, stage, allowed)?,
                "ours" => {
                    time(stage.key, stage, allowed)?;
                    time("dropped", stage, denied)?;
                }
                _ => {}
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
