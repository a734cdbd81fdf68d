//! A daemon that is killed while several clients create, change, extend and end sandboxes: at each fail point that they lead to, and at random.

use crate::client::Client;
use crate::random::Random;
use crate::stage::{Became, Stage};
use anyhow::{Context, Result, ensure};
use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use test_faults::OF_THE_API;

/// How long clients work before a point counts as one that nothing leads to.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest life of a daemon that is killed at random.
const LIFE_MS: u64 = 1_500;
const AT_RANDOM: &str = "(at random)";

/// The other points that clients of the API lead to.
const POINTS: &[&str] = &[
    "attach.prepared",
    "attach.protected",
    "attach.named",
    "attach.counters",
    "attach.flows",
    "attach.sandbox",
    "attach.assigned",
    "attach.to_sandbox.attached",
    "attach.to_sandbox.pinned",
    "attach.from_sandbox.attached",
    "attach.from_sandbox.pinned",
    "attach.committed",
    "update.prepared",
    "update.named",
    "switch.built",
    "switch.placed",
    "update.switched",
    "update.committed",
    "store.preparing",
    "store.prepared",
    "store.committed",
    "store.removing",
    "store.removed",
    "delete.prepared",
    "delete.configured",
    "delete.committed",
    "detach.prepared",
    "detach.to_sandbox.unpinned",
    "detach.from_sandbox.unpinned",
    "detach.released",
    "detach.COUNTERS.cleared",
    "detach.FLOWS.cleared",
    "detach.SANDBOXES.cleared",
    "detach.cleared",
    "detach.forgotten",
];
/// Points that a daemon passes when it starts.
const ADOPTION: &[&str] = &[
    "adopt.opened",
    "adopt.settled",
    "adopt.to_sandbox.replaced",
    "adopt.from_sandbox.replaced",
    "adopt.linked",
    "adopt.between",
    "adopt.protected",
];

/// What came of the kills at one point.
struct Row {
    point: &'static str,
    kills: usize,
    /// Calls that were not answered, and what became of them.
    old: usize,
    new: usize,
    slowest: Duration,
}

#[test]
fn what_was_acknowledged_holds_and_nothing_is_left() -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    let seed = number("API_KILLS_SEED", now)?;
    println!("API_KILLS_SEED={seed}");
    let mut random = Random(seed);
    let mut stage = Stage::new("apikills", seed)?;
    let only = env::var("API_KILLS_ONLY").unwrap_or_default();
    let is_wanted = |point: &&str| only.is_empty() || only.split(',').any(|name| name == *point);
    let (rounds, at_random) = (number("API_KILLS_PER_POINT", 1)?, number("API_KILLS_AT_RANDOM", 6)?);
    let points = OF_THE_API.iter().chain(POINTS).chain(ADOPTION).copied().filter(is_wanted);
    println!("{:<30} {:>5} {:>10} {:>6} {:>6} {:>12}", "point", "kills", "unanswered", "old", "new", "slowest");
    let mut kills = 0;
    for (point, rounds) in points.map(|point| (point, rounds)).chain([(AT_RANDOM, at_random)]) {
        let row = Row::of(point, rounds, || {
            if point == AT_RANDOM {
                stage.kill_at_random(&mut random)?
            } else {
                stage.kill_at(point, &mut random)?
            }
            stage.verify(&mut random)
        })?;
        row.print();
        kills += row.kills;
    }
    println!("{kills} kills");
    stage.ends()
}

impl Row {
    fn print(&self) {
        let Row { point, kills, old, new, slowest } = self;
        let (unanswered, slowest) = (old + new, format!("{:.0} ms", slowest.as_secs_f64() * 1_000.0));
        println!("{point:<30} {kills:>5} {unanswered:>10} {old:>6} {new:>6} {slowest:>12}");
    }

    fn of(point: &'static str, rounds: u64, mut kill: impl FnMut() -> Result<(Vec<Became>, Duration)>) -> Result<Row> {
        let mut row = Row { point, kills: 0, old: 0, new: 0, slowest: Duration::ZERO };
        for _ in 0..rounds {
            let (became, took) = kill().with_context(|| format!("killed at {point}"))?;
            row.kills += 1;
            row.old += became.iter().filter(|one| **one == Became::Old).count();
            row.new += became.iter().filter(|one| **one == Became::New).count();
            row.slowest = row.slowest.max(took);
        }
        Ok(row)
    }
}

impl Stage {
    fn kill_at(&mut self, point: &'static str, random: &mut Random) -> Result<()> {
        if ADOPTION.contains(&point) {
            self.kill_at_random(random)?;
            // The next one must have something to take over.
            while !self.clients.iter().any(Client::has_sandbox) {
                self.takes_over()?;
                self.kill_at_random(random)?;
            }
            self.arm(point)?;
            return self.dies_at_start(point);
        }
        self.arm(point)?;
        let until = Instant::now() + PATIENCE;
        self.work(&|| Instant::now() > until)?;
        self.has_died(point)
    }

    fn kill_at_random(&mut self, random: &mut Random) -> Result<()> {
        let (life, killed) = (Duration::from_millis(random.below(LIFE_MS)), AtomicBool::new(false));
        let pid = self.open.stage.daemon.pid().context("no daemon runs")?;
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(life);
                let group = nix::unistd::Pid::from_raw(pid.cast_signed());
                nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).ok();
                killed.store(true, Ordering::SeqCst);
            });
            self.work(&|| killed.load(Ordering::SeqCst))
        })?;
        self.open.stage.daemon.dies().map(drop)
    }

    /// Has all clients work beside each other until the daemon is gone, or `stop` says so.
    fn work(&mut self, stop: &(dyn Fn() -> bool + Sync)) -> Result<()> {
        let worked: Vec<Result<()>> = thread::scope(|scope| {
            let work: Vec<_> = self.clients.iter_mut().map(|client| scope.spawn(|| client.work(stop))).collect();
            work.into_iter().map(|client| client.join().expect("no panic in a client")).collect()
        });
        worked.into_iter().collect::<Result<_>>().inspect_err(|_| println!("{}", self.open.stage.daemon.log()))
    }

    /// Another daemon takes over, and everything is as it must be.
    fn verify(&mut self, random: &mut Random) -> Result<(Vec<Became>, Duration)> {
        let started = Instant::now();
        let became = self.takes_over().inspect_err(|_| println!("{}", self.open.stage.daemon.log()))?;
        let took = started.elapsed();
        ensure!(self.clients.iter().all(|client| client.pending.is_none()));
        self.probe(random.below(u64::MAX) as usize)?;
        Ok((became, took))
    }
}

pub(crate) fn number(name: &str, default: u64) -> Result<u64> {
    match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(default),
    }
}
