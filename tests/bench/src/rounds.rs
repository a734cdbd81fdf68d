//! Everything is measured in every round, in a new order each time; worlds are built anew a few times.
//!
//! What can be is measured in one world, which has two clients: towards one is the gate, which has one setup's programs after the other's;
//! towards the other is nothing. In half of the rounds it is the other way round, and a round of one half makes a whole with one of the
//! other: what one client's path has before the other's is in no difference.

use crate::probe::{self, Path, Probe};
use crate::setup::{At, Gate, Installed, Kit, Setup};
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
    /// Whether it takes turns with the bare path, batch by batch: machines are slower or faster for hundredths of seconds.
    pub(crate) paired: bool,
}

/// How long it all may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How often worlds are built anew.
    pub(crate) blocks: u32,
    /// Time of the whole, building included. Where building takes longer than it should, fewer rounds are measured.
    pub(crate) time: Duration,
}

/// The setup of the bare path.
const BARE: &str = "bare";

/// Rounds of a block, at the least.
const FEWEST: u32 = 5;

/// Series by the keys of their rows; `KEY.bare` is of the bare path that took turns with it, `KEY.cpu` and `KEY.bare.cpu` are by the thread's own
/// time, and `KEY.program` is what a program takes by itself.
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

/// A world, and what can be in it.
struct Stage {
    gate: Gate,
    setups: Vec<(&'static Setup, Installed)>,
    world: World,
}

impl Stage {
    fn new() -> Result<Stage> {
        Ok(Stage { gate: Gate::new(0), setups: Vec::new(), world: World::new()? })
    }

    fn add(&mut self, setup: &'static Setup, kit: &Kit) -> Result<()> {
        let installed = setup.install(kit, &self.world)?;
        self.setups.push((setup, installed));
        Ok(())
    }

    fn path(&self, at: At) -> Path<'_> {
        let lane = match at {
            At::Bare => 1 - self.gate.lane,
            At::Gate => self.gate.lane,
            At::Own => 0,
        };
        Path { world: &self.world, client: &self.world.clients[lane] }
    }
}

/// Measures the rows, and what their programs take by themselves.
pub(crate) fn measure(kit: &Kit, rows: &[Row], frames: &Frames, plan: Plan, seed: u64) -> Result<Measured> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut measured = Measured::new();
    let begun = Instant::now();
    for block in 0..plan.blocks {
        progress(format_args!("worlds {} of {}: building", block + 1, plan.blocks));
        let mut stages = stages(kit, rows, &mut random)?;
        let until = begun + plan.time * (block + 1) / plan.blocks;
        let found = on_one_cpu(|| {
            let middle = Instant::now() + until.saturating_duration_since(Instant::now()) / 2;
            let one = rounds(rows, &mut stages, middle, (block + 1, plan.blocks), &mut random)?;
            stages.iter_mut().for_each(|stage| stage.gate = Gate::new(1));
            let other = rounds(rows, &mut stages, until, (block + 1, plan.blocks), &mut random)?;
            Ok(halves(&one, &other))
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

/// The worlds of a block, built in a random order: luck with memory is no setup's own.
fn stages(kit: &Kit, rows: &[Row], random: &mut fastrand::Rng) -> Result<Vec<Stage>> {
    let mut setups: Vec<&'static Setup> = Vec::new();
    for setup in rows.iter().map(|row| row.setup).chain([BARE]).map(Setup::of) {
        if setups.iter().all(|other| other.key != setup.key) {
            setups.push(setup);
        }
    }
    random.shuffle(&mut setups);
    let mut shared = Stage::new()?;
    let mut stages = Vec::new();
    for setup in setups {
        if setup.at != At::Own {
            shared.add(setup, kit)?;
        } else {
            let mut stage = Stage::new()?;
            stage.add(setup, kit)?;
            stages.push(stage);
        }
    }
    stages.push(shared);
    Ok(stages)
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
    stages: &mut [Stage],
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
        shuffle(&mut order, random);
        let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for row in &order {
            let costs = measure_one(row, stages, random);
            let costs = costs.with_context(|| format!("{}: {}", row.key, Setup::of(row.setup).name))?;
            for (key, cost) in [row.key.to_owned(), format!("{}.bare", row.key)].into_iter().zip(costs) {
                let (wall, cpu) = sums.entry(key).or_default();
                *wall += cost.wall / f64::from(row.slices);
                *cpu += cost.cpu / f64::from(row.slices);
            }
        }
        for (key, (wall, cpu)) in sums {
            found.entry(format!("{key}.cpu")).or_default().push(cpu);
            found.entry(key).or_default().push(wall);
        }
    }
    Ok(found)
}

/// A random order, in which datagrams stand together, and connections.
fn shuffle(order: &mut [&Row], random: &mut fastrand::Rng) {
    random.shuffle(order);
    let connections_first = random.bool();
    order.sort_by_key(|row| matches!(row.probe, Probe::Connection(_)) != connections_first);
}

/// What two halves found, as one: the means of their rounds.
fn halves(one: &Found, other: &Found) -> Found {
    let mean = |(key, values): (&String, &Vec<f64>)| {
        let pairs = values.iter().zip(other.get(key).into_iter().flatten());
        (key.clone(), pairs.map(|(a, b)| f64::midpoint(*a, *b)).collect())
    };
    one.iter().map(mean).collect()
}

/// What a row costs, and next to it the bare path.
fn measure_one(row: &Row, stages: &mut [Stage], random: &mut fastrand::Rng) -> Result<Vec<probe::Cost>> {
    let setup = Setup::of(row.setup);
    let place = |wanted: &Setup| {
        let at = |stage: &Stage| stage.setups.iter().position(|(one, _)| one.key == wanted.key);
        let found = stages.iter().enumerate().find_map(|(number, stage)| Some((number, at(stage)?)));
        found.context("a row without a world")
    };
    let ((own, at), (shared, _)) = (place(setup)?, place(Setup::of(BARE))?);
    if setup.at == At::Gate {
        let Stage { gate, setups, world } = &mut stages[own];
        gate.set(world, &mut setups[at].1)?;
    }
    let paths = [stages[own].path(setup.at), stages[shared].path(At::Bare)];
    row.probe.run(if row.paired { &paths } else { &paths[..1] }, random, row.slice)
}

/// What programs take by themselves, for one frame after the other.
fn programs(stages: &mut [Stage], frames: &Frames) -> Result<Found> {
    /// Runs of a program in a row.
    const REPEAT: u32 = 2_000;
    let mut found: Found = Found::new();
    let mut time = |key: &str, world: &World, installed: &mut Installed, frame: &[u8]| -> Result<()> {
        if let Some(time) = installed.time(world, frame, REPEAT)? {
            found.entry(format!("{key}.program")).or_default().push(time.as_nanos() as f64);
        }
        Ok(())
    };
    for (allowed, denied) in frames.allowed.iter().zip(&frames.denied) {
        let all = stages.iter_mut().flat_map(|Stage { world, setups, .. }| setups.iter_mut().map(|one| (&*world, one)));
        for (world, (setup, installed)) in all {
            match setup.key {
                "empty" | "lookup" => time(setup.key, world, installed, allowed)?,
                "ours" => {
                    time(setup.key, world, installed, allowed)?;
                    time("dropped", world, installed, denied)?;
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
