//! Faults under load, one after the other, and how long each lasts.

use crate::load::{Client, Question};
use crate::stage::{DENIED, DENIED6, DIRECT, SOON, Stage, limit_descriptors};
use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use test_world::internet::WEB;
use test_world::{Sniffer, poll, wait_until};

/// After a fault names work again within this.
const LIMIT: Duration = Duration::from_secs(1);
/// A life that is shorter than a second makes the next start wait: faults leave it that long.
const LIFE: Duration = Duration::from_millis(1_100);
/// How long it has no descriptors.
const STARVED: Duration = Duration::from_millis(600);
/// Too few for a connection more.
const DESCRIPTORS: u32 = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// SIGKILL.
    Killed,
    /// SIGSTOP.
    Frozen,
    /// No descriptors are left.
    Starved,
}

const FAULTS: [Fault; 3] = [Fault::Killed, Fault::Frozen, Fault::Starved];

/// The clients of all sandboxes.
struct Load {
    named: Vec<Client>,
    /// Those of the other sandbox with names.
    other: Vec<Client>,
    denied: Vec<Client>,
    direct: Vec<Client>,
}

impl Load {
    fn start(stage: &Stage) -> Load {
        let named = |node, at: usize, name, status| {
            let to = SocketAddr::from(([DENIED, DENIED6][at % 2], [80, 443][at / 2]));
            Client::start(node, Question { to, name, status })
        };
        let direct =
            || Client::start(&stage.c, Question { to: SocketAddr::from((WEB, DIRECT)), name: "direct", status: 200 });
        Load {
            named: (0..4).map(|at| named(&stage.a, at, "example.test", 200)).collect(),
            other: [0, 3].map(|at| named(&stage.b, at, "example.test", 200)).into(),
            denied: (0..4).map(|at| named(&stage.a, at, "denied.test", 403)).collect(),
            direct: vec![direct(), direct()],
        }
    }

    fn all(&self) -> impl Iterator<Item = &Client> {
        self.named.iter().chain(&self.other).chain(&self.denied).chain(&self.direct)
    }

    /// When a request of each sandbox with names had succeeded that was begun after a moment.
    fn recovered(&self, from: Instant) -> Option<Instant> {
        let first = |clients: &[Client]| clients.iter().filter_map(|client| client.succeeded_after(from)).min();
        Some(first(&self.named)?.max(first(&self.other)?))
    }
}

/// Lets these many faults happen.
pub(crate) fn run(count: usize) -> Result<()> {
    let stage = Stage::new("faults")?;
    let load = Load::start(&stage);
    let is_warm = || load.all().all(|client| client.counts().0 > 5);
    ensure!(wait_until(SOON, is_warm), "the clients do not get what they are to get: {}", stage.daemon.log());
    let mut lasted = FAULTS.map(|_| Vec::new());
    let mut wire = stage.world.host().sniff("up0")?;
    for at in 0..count {
        let fault = FAULTS[at % FAULTS.len()];
        let next = stage.world.host().sniff("up0")?;
        let took = happens(&stage, &load, fault).with_context(|| format!("fault {at}, {fault:?}"));
        if took.is_err() {
            println!("{}", stage.daemon.log());
        }
        lasted[at % FAULTS.len()].push(took?);
        nothing_left(&stage, &mut wire)?;
        wire = next;
    }
    nothing_left(&stage, &mut wire)?;
    for (fault, mut times) in FAULTS.into_iter().zip(lasted) {
        times.sort_unstable();
        let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
        println!(
            "{fault:?}: {} times, names again after {:?} (median), {:?} (95 of 100), {:?} (longest)",
            times.len(),
            at(50),
            at(95),
            times.last()
        );
        ensure!(times.last().is_none_or(|longest| *longest <= LIMIT), "{fault:?} lasted too long");
    }
    let sum = |clients: &[Client]| clients.iter().map(Client::counts).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    println!(
        "answered and not, with names {:?}, another's {:?}, denied {:?}, by address {:?}",
        sum(&load.named),
        sum(&load.other),
        sum(&load.denied),
        sum(&load.direct)
    );
    ensure!(sum(&load.direct).1 == 0, "a sandbox without names noticed");
    Ok(())
}

/// One fault; tells how long there were no names.
fn happens(stage: &Stage, load: &Load, fault: Fault) -> Result<Duration> {
    let born = Instant::now();
    ensure!(wait_until(SOON, || born.elapsed() >= LIFE));
    let sidecar = stage.sidecar()?;
    let refused: u64 = load.all().map(Client::refused).sum();
    let from = match fault {
        Fault::Killed => strike(sidecar, Signal::SIGKILL)?,
        Fault::Frozen => strike(sidecar, Signal::SIGSTOP)?,
        Fault::Starved => {
            limit_descriptors(sidecar, Some(DESCRIPTORS))?;
            let begun = Instant::now();
            ensure!(wait_until(SOON, || begun.elapsed() >= STARVED));
            limit_descriptors(sidecar, None)?;
            Instant::now()
        }
    };
    let recovered = poll(SOON, || {
        // What the old one still answered does not count.
        let is_new = fault == Fault::Starved || stage.sidecars().is_ok_and(|all| all.iter().any(|pid| *pid != sidecar));
        if is_new { load.recovered(from) } else { None }
    });
    let recovered = recovered.context("no names any more")?;
    if fault == Fault::Starved && stage.sidecar()? != sidecar {
        bail!("it was replaced for want of descriptors");
    }
    if load.all().map(Client::refused).sum::<u64>() > refused {
        bail!("what is allowed was refused as if it were not");
    }
    if let Some(wrong) = load.all().find_map(Client::wrong) {
        bail!("{wrong}");
    }
    Ok(recovered - from)
}

fn strike(sidecar: i32, signal: Signal) -> Result<Instant> {
    let now = Instant::now();
    kill(Pid::from_raw(sidecar), signal)?;
    Ok(now)
}

/// Nothing that sandboxes with names have sent has left the host: all of it is for the sidecar.
fn nothing_left(stage: &Stage, wire: &mut Sniffer) -> Result<()> {
    for sandbox in [&stage.a, &stage.b] {
        let seen = wire.count_from(sandbox.v4.into())? + wire.count_from(sandbox.v6.into())?;
        ensure!(seen == 0, "{seen} packets of {} left the host", sandbox.device);
    }
    for denied in [DENIED, DENIED6] {
        ensure!(wire.count_to(denied)? == 0, "somebody reached {denied}");
    }
    ensure!(wire.count_to(WEB.into())? > 0, "the wire was not seen");
    Ok(())
}
