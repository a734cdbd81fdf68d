//! What is measured over a world: one slice of time at a time, from one thread on one CPU that holds both ends.

mod tcp;
mod udp;

use crate::spread::Spread;
use crate::stats::median;
use crate::world::World;
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

impl Probe {
    /// Does it for about as long as told.
    ///
    /// # Errors
    /// When something that must arrive does not, or something arrives that must not.
    pub(crate) fn run(self, world: &World, random: &mut fastrand::Rng, slice: Duration) -> Result<Cost> {
        match self {
            Probe::Delivered(spread) => udp::delivered(world, random, spread, slice),
            Probe::Sent(spread) => udp::sent(world, random, spread, slice),
            Probe::Denied(spread) => udp::denied(world, random, spread, slice),
            Probe::Connection(spread) => tcp::connections(world, random, spread, slice),
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

/// Does batches of `size` for as long as a slice is; `batch` says how long one took. The first ones warm the caches up again.
fn slice(length: Duration, size: usize, warm_up: usize, mut batch: impl FnMut() -> Result<Duration>) -> Result<Cost> {
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    let each = |time: Duration| time.as_nanos() as f64 / size as f64;
    while begun.elapsed() < length || wall.len() <= warm_up {
        let before = cpu_time()?;
        wall.push(each(batch()?));
        cpu.push(each(cpu_time()?.saturating_sub(before)));
    }
    Ok(Cost { wall: median(&mut wall[warm_up..]), cpu: median(&mut cpu[warm_up..]) })
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
