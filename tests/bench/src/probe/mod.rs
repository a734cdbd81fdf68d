//! What is measured over a world: one slice of time at a time, from one thread on one CPU that holds both ends.

mod tcp;
mod udp;

use crate::spread::Spread;
use crate::stats::median;
use crate::world::{Client, World};
use anyhow::Result;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// What is done over and over in a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Probe {
    /// Datagrams to random destinations of the list, from the sender's call until the receiver has them.
    Delivered(Spread),
    /// The same, the sender's calls alone.
    Sent(Spread),
    /// Datagrams to random destinations that the list denies, the sender's calls: there is nothing to receive.
    Denied(Spread),
    /// A TCP connection to a random destination of the list: connect, request, response, close.
    Connection(Spread),
}

/// A way from a client to the server of its world.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    /// The world.
    pub(crate) world: &'a World,
    /// The client.
    pub(crate) client: &'a Client,
}

impl Probe {
    /// Does it on all paths in turns, some batches on each, for about as long as told on each.
    ///
    /// # Errors
    /// When something that must arrive does not, or something arrives that must not.
    pub(crate) fn run(self, paths: &[Path<'_>], random: &mut fastrand::Rng, slice: Duration) -> Result<Vec<Cost>> {
        match self {
            Probe::Delivered(spread) => udp::delivered(paths, random, spread, slice),
            Probe::Sent(spread) => udp::sent(paths, random, spread, slice),
            Probe::Denied(spread) => udp::denied(paths, random, spread, slice),
            Probe::Connection(spread) => tcp::connections(paths, random, spread, slice),
        }
    }
}

/// What a packet or a connection costs, in nanoseconds: medians over a slice's batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// By the clock.
    pub(crate) wall: f64,
    /// By the thread's own time on the CPU.
    pub(crate) cpu: f64,
}

/// Batches on a path before it is another's turn. The first one finds caches that the other left behind, and does not count.
const RUN: usize = 6;

/// Does batches of `size` on paths in turns, for as long as a slice is on each; `batch` says how long one took. The first ones warm the caches
/// up again.
fn slices(
    paths: &[Path<'_>],
    length: Duration,
    size: usize,
    warm_up: usize,
    mut batch: impl FnMut(Path<'_>) -> Result<Duration>,
) -> Result<Vec<Cost>> {
    let each = |time: Duration| time.as_nanos() as f64 / size as f64;
    let mut times = vec![(Vec::new(), Vec::new()); paths.len()];
    for path in paths {
        (0..warm_up).try_for_each(|_| batch(*path).map(drop))?;
    }
    let begun = Instant::now();
    while begun.elapsed() < length * u32::try_from(paths.len())? {
        for (path, (wall, cpu)) in paths.iter().zip(&mut times) {
            batch(*path)?;
            for _ in 1..RUN {
                let before = cpu_time()?;
                wall.push(each(batch(*path)?));
                cpu.push(each(cpu_time()?.saturating_sub(before)));
            }
        }
    }
    Ok(times.iter_mut().map(|(wall, cpu)| Cost { wall: median(wall), cpu: median(cpu) }).collect())
}

fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// Keeps the calling thread on one CPU: the last that it may use, because the first has most of the machine's interrupts.
pub(crate) fn stay() -> Result<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false)).unwrap_or(0);
    let mut one = CpuSet::new();
    one.set(last)?;
    sched_setaffinity(Pid::from_raw(0), &one)?;
    Ok(last)
}
