//! Every way is measured in every round, in a new order each time; places are built anew a few times.

use super::load;
use super::place::Place;
use super::server::Manner;
use crate::probe;
use crate::stats::{Series, median};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is measured of a way, and how long at a time.
const SLICE: [(Measure, Duration); 3] = [
    (Measure::Connections, Duration::from_millis(200)),
    (Measure::Bulk, Duration::from_millis(120)),
    (Measure::Paced, Duration::from_millis(200)),
];
/// Slices of which the quietest counts at half load: a host that gives the CPU to others for some milliseconds would be what is measured.
const QUIET: usize = 5;
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
        let alone = one(place, way, Measure::Connections, Duration::from_millis(50), Duration::ZERO)?;
        slowest = slowest.max(alone[0].1);
    }
    let every = HALF * Duration::from_nanos(slowest as u64);
    let mut round = 0;
    while Instant::now() < until || round < FEWEST {
        round += 1;
        for (measure, slice) in SLICE {
            random.shuffle(&mut ways);
            for way in &ways {
                for (measure, value) in one(place, way, measure, slice, every)? {
                    found.entry((measure, *way)).or_default().push(value);
                }
            }
        }
    }
    Ok(found)
}

/// Measures a way once.
fn one(
    place: &Place,
    way: &'static str,
    measure: Measure,
    slice: Duration,
    every: Duration,
) -> Result<Vec<(Measure, f64)>> {
    place.server.set(if measure == Measure::Bulk { Manner::Pour } else { Manner::Close });
    let (client, aim) = place.way(way);
    let inside = || {
        probe::stay()?;
        match measure {
            Measure::Connections | Measure::Work => {
                let before = place.cpu_time(way)?;
                let made = load::connections(aim, slice)?;
                let work = (place.cpu_time(way)? - before) / f64::from(made.count);
                Ok(vec![(Measure::Connections, made.each), (Measure::Work, work)])
            }
            Measure::Bulk => Ok(vec![(measure, load::bulk(aim, slice)?)]),
            Measure::Paced => {
                let of_each = (0..QUIET).map(|_| load::paced(aim, every, slice).map(percentile));
                let quietest = of_each.collect::<Result<Vec<_>>>()?.into_iter().fold(f64::INFINITY, f64::min);
                Ok(vec![(measure, quietest)])
            }
        }
    };
    client.netns.within(inside).with_context(|| format!("{measure:?}: {way}"))
}

/// What 99 of 100 are below.
fn percentile(mut times: Vec<f64>) -> f64 {
    if times.is_empty() {
        return median(&mut times);
    }
    times.sort_unstable_by(f64::total_cmp);
    times[(times.len() - 1) * 99 / 100]
}
