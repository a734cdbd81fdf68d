//! The kernel memory of a sandbox.

use super::lists;
use super::yard::{Filter, Yard};
use crate::figure::{Estimate, Figure, Force, Target, Unit};
use crate::report::Section;
use crate::stats::median;
use anyhow::{Context, Result};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// Sandboxes that are looked at together.
const SANDBOXES: u32 = 150;
/// Sandboxes that come before: they take what memory the kernel has at hand.
const BEFORE: u32 = 200;
/// Prefixes of the larger policy.
const PREFIXES: u32 = 1_000;
/// How often; the machine's other work comes and goes meanwhile.
const ROUNDS: u32 = 3;
/// How long the kernel may take to free what was given up.
const SETTLES: Duration = Duration::from_secs(2);

/// The most that a sandbox may take, beside its prefixes, and what it may take more for each CPU and each prefix.
const LIMIT: f64 = 10e3;
const LIMIT_PER_CPU: f64 = 0.6e3;
const LIMIT_PER_PREFIX: f64 = 150.0;

/// What a sandbox takes, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    slab: f64,
    per_cpu: f64,
    vmalloc: f64,
}

pub(super) fn measure() -> Result<Section> {
    let yard = Yard::new(BEFORE + 2 * ROUNDS * SANDBOXES)?;
    let mut filter = Filter::new("memory")?;
    // Nothing is freed in between: what is there for others to take again would be counted for nobody.
    filter.attach(&yard, 0, BEFORE / 2, &lists::compiled(0, 1))?;
    filter.attach(&yard, BEFORE / 2, BEFORE / 2, &lists::compiled(PREFIXES, 1))?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let first = BEFORE + 2 * round * SANDBOXES;
        without.push(of_one(&mut filter, &yard, first, 0)?);
        with.push(of_one(&mut filter, &yard, first + SANDBOXES, PREFIXES)?);
    }
    let cpus = f64::from(u32::try_from(thread::available_parallelism()?.get())?);
    let part = |of: fn(&Memory) -> f64| median(&mut without.iter().map(of).collect::<Vec<_>>());
    let (least, most) = ends(without.iter().map(Memory::total));
    let total = median(&mut without.iter().map(Memory::total).collect::<Vec<_>>());
    let mut a_prefix: Vec<f64> = with
        .iter()
        .zip(&without)
        .map(|(with, without)| (with.total() - without.total()) / f64::from(PREFIXES))
        .collect();
    let (low, high) = ends(a_prefix.iter().copied());
    let limit = LIMIT + LIMIT_PER_CPU * cpus;
    let must = |of: &str, limit, reached| Target {
        force: Force::Must,
        of: of.to_owned(),
        limit,
        reached,
        unit: Unit::Bytes,
        next: String::new(),
    };
    let whole = Estimate::new(total, least, most);
    let prefix = Estimate::new(median(&mut a_prefix), low, high);
    Ok(Section::new("Kernel memory")
        .text(format!(
            "What the kernel holds more (`Slab`, `Percpu` and `VmallocUsed` of `/proc/meminfo`) when {SANDBOXES} sandboxes without open \
             flows are attached beside others, divided by their number: maps, policy, links, pins, and what the kernel needs for a \
             device with programs. The interval spans {ROUNDS} rounds."
        ))
        .figure(
            Figure::new("a sandbox, on this machine", Unit::Bytes, whole)
                .beside("slab", Estimate::exact(part(|memory| memory.slab)))
                .beside("per-CPU memory", Estimate::exact(part(|memory| memory.per_cpu)))
                .beside("vmalloc", Estimate::exact(part(|memory| memory.vmalloc)))
                .target(must("memory: 10 kB and 0.6 kB a CPU", limit, whole)),
        )
        .figure(
            Figure::new(format!("a prefix, of {PREFIXES}"), Unit::Bytes, prefix)
                .target(must("memory: 150 B", LIMIT_PER_PREFIX, prefix)),
        ))
}

/// The memory of one of many new sandboxes whose policies have so many prefixes.
fn of_one(filter: &mut Filter, yard: &Yard, first: u32, prefixes: u32) -> Result<Memory> {
    let policy = lists::compiled(prefixes, 1);
    let before = Memory::settled()?;
    filter.attach(yard, first, SANDBOXES, &policy)?;
    let after = Memory::settled()?;
    let one = |now: f64, then: f64| (now - then) / f64::from(SANDBOXES);
    Ok(Memory {
        slab: one(after.slab, before.slab),
        per_cpu: one(after.per_cpu, before.per_cpu),
        vmalloc: one(after.vmalloc, before.vmalloc),
    })
}

impl Memory {
    fn total(&self) -> f64 {
        self.slab + self.per_cpu + self.vmalloc
    }

    /// The machine's, once it has stopped to change: the kernel frees after the fact.
    fn settled() -> Result<Memory> {
        let started = Instant::now();
        let mut last = Memory::now()?;
        let mut same = 0;
        while same < 5 && started.elapsed() < SETTLES {
            thread::sleep(Duration::from_millis(100));
            let now = Memory::now()?;
            same = if (now.total() - last.total()).abs() < 64e3 { same + 1 } else { 0 };
            last = now;
        }
        Ok(last)
    }

    fn now() -> Result<Memory> {
        let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
        let of = |name: &str| -> Result<f64> {
            let rest = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
            let kib: u32 =
                rest.trim_end_matches("kB").trim().parse().with_context(|| format!("{name} is no number"))?;
            Ok(f64::from(kib) * 1024.0)
        };
        Ok(Memory { slab: of("Slab:")?, per_cpu: of("Percpu:")?, vmalloc: of("VmallocUsed:")? })
    }
}

fn ends(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max))
}
