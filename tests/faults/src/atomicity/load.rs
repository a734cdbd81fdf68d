//! Full load: a sender on every CPU, as fast as their receivers take it.

use super::lane::{Backlog, Lane};
use super::payload::{ahead, now};
use super::policy::{Kind, STREAMS};
use super::receiver::{self, Received};
use super::sender::{self, BATCH, Sent};
use super::swaps::Swaps;
use anyhow::{Context, Result, ensure};
use nix::sched::sched_getaffinity;
use nix::unistd::Pid;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use test_world::{Deadline, Node, Sandbox};

/// Senders at the most.
const MOST: usize = 4;
/// How long something that must happen may take.
const SOON: Duration = Duration::from_secs(10);
/// How often is looked whether something has happened.
const LOOK: Duration = Duration::from_micros(200);
/// Losses after which a run ends.
const ENOUGH: u64 = 8;
/// How far a clock may move against the other before timestamps mean nothing, in nanoseconds.
const STEP: u64 = 20_000;

/// Senders and receivers at work.
pub(crate) struct Load {
    lanes: Vec<Arc<Lane>>,
    senders: Vec<JoinHandle<Result<Sent>>>,
    receivers: Vec<JoinHandle<Result<Received>>>,
    ahead: u64,
    started: Instant,
}

/// What became of a load.
pub(crate) struct Outcome {
    /// What each lane has sent.
    pub(crate) sent: Vec<Sent>,
    received: Vec<Received>,
    stalls: u64,
    took: Duration,
}

impl Load {
    /// Begins to send from the sandbox to the internet.
    pub(crate) fn start(sandbox: &Sandbox, internet: &Node, backlog: &Arc<Backlog>) -> Result<Load> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let cpus = (0..nix::sched::CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).take(MOST);
        let lanes = cpus.zip(super::FIRST_PORT..).map(|(cpu, port)| Arc::new(Lane::new(cpu, port, backlog.clone())));
        let mut load = Load {
            lanes: lanes.collect(),
            senders: Vec::new(),
            receivers: Vec::new(),
            ahead: ahead()?,
            started: Instant::now(),
        };
        for lane in &load.lanes {
            let socket = internet.within(|| receiver::socket(lane.port))??;
            let (lane, ahead) = (lane.clone(), load.ahead);
            load.receivers.push(thread::spawn(move || {
                Lane::give_way()?;
                receiver::run(&lane, &socket, ahead)
            }));
        }
        for lane in &load.lanes {
            let (lane, sandbox) = (lane.clone(), sandbox.clone());
            let sources = [sandbox.v4.into(), sandbox.v6.into()];
            load.senders.push(thread::spawn(move || sandbox.within(|| sender::run(&lane, sources))?));
        }
        Ok(load)
    }

    /// Lanes at work.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Waits until every lane has carried two batches that were sent after this call. Gives up when much is missing already.
    pub(crate) fn carry_on(&self) -> Result<()> {
        let targets: Vec<u64> = self.lanes.iter().map(|lane| lane.sent() + 3 * BATCH).collect();
        let deadline = Deadline::after(SOON);
        for (lane, target) in self.lanes.iter().zip(targets) {
            ensure!(lane.gaps() < ENOUGH, "so much is lost that the rest tells no more");
            while lane.delivered() < target {
                let (sent, delivered) = (lane.sent(), lane.delivered());
                ensure!(!deadline.expired(), "CPU {}: {sent} sent, but nothing comes behind {delivered}", lane.cpu);
                thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    /// Ends it, when all that is under way has arrived.
    pub(crate) fn finish(self) -> Result<Outcome> {
        self.lanes.iter().for_each(|lane| lane.close());
        let sent: Vec<Sent> = self.senders.into_iter().map(join).collect::<Result<_>>()?;
        let took = self.started.elapsed();
        let complete = || self.lanes.iter().all(|lane| lane.delivered() == lane.sent());
        // Also when something is lost: then it is told what.
        test_world::wait_until(SOON, complete);
        self.lanes.iter().for_each(|lane| lane.end());
        let received = self.receivers.into_iter().map(join).collect::<Result<_>>()?;
        let moved = ahead()?.abs_diff(self.ahead);
        ensure!(moved < STEP, "a clock was set meanwhile, by {moved} ns: timestamps mean nothing");
        let stalls = self.lanes.iter().map(|lane| lane.stalls()).sum::<u64>();
        Ok(Outcome { sent, received, stalls, took })
    }
}

impl Outcome {
    /// What is wrong of what arrived: something lost that both policies allow, something passed that none in effect allows.
    pub(crate) fn faults(&self, swaps: &Swaps) -> Vec<String> {
        let mut wrong: Vec<String> = self.received.iter().flat_map(|received| received.wrong.clone()).collect();
        for (lane, (sent, received)) in self.sent.iter().zip(&self.received).enumerate() {
            for ((stream, sent), received) in STREAMS.iter().zip(sent).zip(received.streams) {
                if stream.kind == Kind::Shared && *sent != received {
                    wrong.push(format!("lane {lane}: of {sent} to {}, {received} arrived", stream.destination));
                }
            }
        }
        wrong.extend(swaps.trespasses(self.received.iter().flat_map(|received| &received.arrivals)));
        wrong
    }

    /// Datagrams that both policies allow.
    pub(crate) fn shared(&self) -> u64 {
        self.count(|kind| kind == Kind::Shared)
    }

    /// All datagrams that were sent.
    pub(crate) fn all(&self) -> u64 {
        self.count(|_| true)
    }

    /// Datagrams that one policy alone allows, and that arrived.
    pub(crate) fn arrivals(&self) -> usize {
        self.received.iter().map(|received| received.arrivals.len()).sum()
    }

    /// How often a sender went on although nothing had arrived for long.
    pub(crate) fn stalls(&self) -> u64 {
        self.stalls
    }

    /// Datagrams sent in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.all() as f64 / self.took.as_secs_f64()
    }

    fn count(&self, of: impl Fn(Kind) -> bool) -> u64 {
        self.sent.iter().flat_map(|sent| STREAMS.iter().zip(sent)).filter(|(s, _)| of(s.kind)).map(|(_, n)| n).sum()
    }
}

/// Calls for a change and notes when.
pub(crate) fn timed<T>(swaps: &mut Swaps, change: impl FnOnce() -> Result<T>) -> Result<T> {
    let called = now()?;
    let changed = change()?;
    swaps.push(called, now()?);
    Ok(changed)
}

fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().ok().context("a sender or receiver panicked")?
}
