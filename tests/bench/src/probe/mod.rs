//! What is measured over a world: one slice of time at a time, from one thread on one CPU that holds both ends.

mod tcp;
mod udp;

use crate::spread::Spread;
use crate::world::World;
use anyhow::Result;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::time::Duration;

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
    /// Does it for about as long as told. Nanoseconds of a packet or a connection: the median over the slice's batches.
    ///
    /// # Errors
    /// When something that must arrive does not, or something arrives that must not.
    pub(crate) fn run(self, world: &World, random: &mut fastrand::Rng, slice: Duration) -> Result<f64> {
        match self {
            Probe::Delivered(spread) => udp::delivered(world, random, spread, slice),
            Probe::Sent(spread) => udp::sent(world, random, spread, slice),
            Probe::Denied(spread) => udp::denied(world, random, spread, slice),
            Probe::Connection(spread) => tcp::connections(world, random, spread, slice),
        }
    }
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
