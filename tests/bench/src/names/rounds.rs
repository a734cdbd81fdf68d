//! Every way is measured in every round, in a new order each time; places are built anew a few times.

use super::load::{self, Aim};
use super::place::Place;
use super::server::Manner;
use crate::probe;
use crate::stats::{Series, median};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is measured of a way once in a round, and how long at a time.
const SLICES: [(Measure, Duration); 2] =
    [(Measure::Connections, Duration::from_millis(200)), (Measure::Bulk, Duration::from_millis(120))];
/// A slice at half load, so short that most hosts leave it alone: one that gives the CPU to others for some milliseconds would be what is
/// measured.
const PACED: Duration = Duration::from_millis(40);
/// Slices of each way in a round at half load, by turns.
const TURNS: usize = 15;
/// So many of them count, the quietest.
const QUIETEST: usize = 5;
/// Rounds of a block, at the least.
const FEWEST: u32 = 3;
/// The time between connections at half load is so many times what a connection takes on the slowest way.
const HALF: u32 = 2;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measure {
    /// The time of a connection where as many as can be are made.
    Connections,
    /// The same by the CPU time of the client, the relay and the server.
    Work,
    /// The time of a MiB.
    Bulk,
    /// How long a connection takes at most at half load, but for one in a hundred.
    Paced,
}

/// Series by what was measured, and the way.
pub(super) type Measured = BTreeMap<(Measure, &'static str), Series>;

/// Measures all ways on a CPU for so long, in so many blocks.
pub(super) fn measure(cpu: usize, blocks: u32, time: Duration) -> Result<Measured> {
    let mut random = fastrand::Rng::new();
    let mut measured = Measured::new();
    let begun = Instant::now();
    for block in 0..blocks {
        let place = Place::new(cpu)?;
        let until = begun + time * (block + 1) / blocks;
        for (key, values) in rounds(&place, until, &mut random)? {
            measured.entry(key).or_default().push(values);
        }
        place.end()?;
    }
    Ok(measured)
}

/// Rounds until the time is over.
fn rounds(
    place: &Place,
    until: Instant,
    random: &mut fastrand::Rng,
) -> Result<BTreeMap<(Measure, &'static str), Vec<f64>>> {
    let mut found: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    let mut ways: Vec<&str> = Place::ways().collect();
    let mut slowest: f64 = 0.0;
    for way in &ways {
        let alone = one(place, way, Measure::Connections, Duration::from_millis(50))?;
        slowest = slowest.max(alone[0].1);
    }
    let every = HALF * Duration::from_nanos(slowest as u64);
    let mut round = 0;
    while Instant::now() < until || round < FEWEST {
        round += 1;
        for (measure, slice) in SLICES {
            random.shuffle(&mut ways);
            for way in &ways {
                for (measure, value) in one(place, way, measure, slice)? {
                    found.entry((measure, *way)).or_default().push(value);
                }
            }
        }
        let mut paced: BTreeMap<&str, Vec<Vec<f64>>> = BTreeMap::new();
        for _ in 0..TURNS {
            random.shuffle(&mut ways);
            for way in &ways {
                let times = inside(place, way, Manner::Close, |aim| load::paced(aim, every, PACED))?;
                paced.entry(way).or_default().push(times);
            }
        }
        for (way, slices) in paced {
            found.entry((Measure::Paced, way)).or_default().push(percentile(quietest(slices)));
        }
    }
    Ok(found)
}

/// Measures a way once.
fn one(place: &Place, way: &'static str, measure: Measure, slice: Duration) -> Result<Vec<(Measure, f64)>> {
    if measure == Measure::Bulk {
        return Ok(vec![(measure, inside(place, way, Manner::Pour, |aim| load::bulk(aim, slice))?)]);
    }
    inside(place, way, Manner::Close, |aim| {
        let before = place.cpu_time(way)?;
        let made = load::connections(aim, slice)?;
        let work = (place.cpu_time(way)? - before) / f64::from(made.count);
        Ok(vec![(Measure::Connections, made.each), (Measure::Work, work)])
    })
}

/// Runs the client of a way, on the CPU that is measured.
fn inside<T: Send>(
    place: &Place,
    way: &str,
    server: Manner,
    load: impl FnOnce(Aim<'_>) -> Result<T> + Send,
) -> Result<T> {
    place.server.set(server);
    let (client, aim) = place.way(way);
    let pinned = || {
        probe::stay()?;
        load(aim)
    };
    client.netns.within(pinned).with_context(|| format!("the way {way}"))
}

/// The times of the quietest slices.
fn quietest(mut slices: Vec<Vec<f64>>) -> Vec<f64> {
    let longest = |times: &Vec<f64>| times.iter().copied().fold(0.0, f64::max);
    slices.sort_by(|one, other| longest(one).total_cmp(&longest(other)));
    slices.truncate(QUIETEST);
    slices.concat()
}

/// What 99 of 100 are below.
fn percentile(mut times: Vec<f64>) -> f64 {
    if times.is_empty() {
        return median(&mut times);
    }
    times.sort_unstable_by(f64::total_cmp);
    times[(times.len() - 1) * 99 / 100]
}
