//! Updates of many clients at the same time.

use super::world::{World, network};
use crate::figure::{Estimate, Figure, Force, Target, Unit};
use crate::report::Section;
use crate::stats::median;
use anyhow::Result;
use std::thread;
use std::time::{Duration, Instant};

/// Clients.
const CLIENTS: u32 = 64;
/// What an update may take and what it should, in nanoseconds: 500 and 2,000 a second.
const MOST: f64 = 1e9 / 500.0;
const AIM: f64 = 1e9 / 2_000.0;

pub(super) fn measure(world: &World, short: bool) -> Result<Section> {
    let (slices, time) = if short { (3, Duration::from_secs(2)) } else { (6, Duration::from_secs(5)) };
    let (mut rates, mut all) = (Vec::new(), Vec::new());
    for slice in 0..slices {
        let (each, mut times) = storm(world, slice, time)?;
        rates.push(each);
        all.append(&mut times);
    }
    let (low, high) = (rates.iter().copied().fold(f64::INFINITY, f64::min), rates.iter().copied().fold(0.0, f64::max));
    let each = Estimate::new(median(&mut rates.clone()), low, high);
    let middle = median(&mut all);
    all.sort_unstable_by(f64::total_cmp);
    let late = all[all.len() * 99 / 100];
    let target = |force, of: &str, limit, next: &str| Target {
        force,
        of: of.to_owned(),
        limit,
        reached: each,
        unit: Unit::Nanoseconds,
        next: next.to_owned(),
    };
    Ok(Section::new("Updates by 64 clients")
        .text(format!(
            "{CLIENTS} clients, each of which updates one of {} sandboxes after the other, chosen at random, with ten entries: the time \
             divided by the updates that were answered. Updates that come at the same time share a durable write and a grace period. The \
             interval spans {slices} slices.",
            world.count
        ))
        .figure(
            Figure::new("an update among those of 64 clients", Unit::Nanoseconds, each)
                .target(target(Force::Must, "500 a second", MOST, ""))
                .target(target(Force::Aim, "2,000 a second", AIM, "rounds that overlap: one is written while another waits for the kernel"))
                .note(format!("{:.0} a second", 1e9 / each.value)),
        )
        .figure(
            Figure::new("from a client's request to its answer", Unit::Nanoseconds, Estimate::exact(middle))
                .beside("99 of 100 within", Estimate::exact(late)),
        ))
}

/// Updates for so long; the time of one, and how long each was waited for.
fn storm(world: &World, slice: u32, time: Duration) -> Result<(f64, Vec<f64>)> {
    let started = Instant::now();
    let times = thread::scope(|scope| {
        let one = |client: u32| {
            scope.spawn(move || -> Result<Vec<f64>> {
                let (mut api, mut times, mut version) = (world.client()?, Vec::new(), slice << 24 | client << 16);
                while started.elapsed() < time {
                    version += 1;
                    let id = format!("s{}", fastrand::u32(..world.count));
                    let begun = Instant::now();
                    api.update(&id, &network(version))?;
                    times.push(begun.elapsed().as_nanos() as f64);
                }
                Ok(times)
            })
        };
        let all: Vec<_> = (0..CLIENTS).map(one).collect();
        let joined = all.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect::<Result<Vec<_>>>()
    })?;
    let all = times.concat();
    Ok((started.elapsed().as_nanos() as f64 / all.len() as f64, all))
}
