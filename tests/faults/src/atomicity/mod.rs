//! Policies that take turns under full load, and whether any packet sees two of them, or an older one than its sender was told.
//!
//! Two policies each allow a destination of their own and share another ([`Policy`]). A sender on every CPU of the machine sends
//! to all of them over both families while the policies are swapped. What counts as lost, and how that is known:
//!
//! - Of what both policies allow, **each datagram is numbered and each number must arrive, in order**, at a socket behind the
//!   filter. That is stricter than any device's counter, and a loss is the filter's because nothing else on the way can drop: a
//!   sender has fewer datagrams under way than a device pair's queue or the receiver's buffer takes, and one CPU carries a lane
//!   from end to end, which is why its order is kept. Within that bound no sender waits.
//! - What one policy alone allows carries the time it was sent at and gets the time at which the interface behind the filter
//!   received it. Between the two a policy that allows it must have been in effect: called before, and its successor not yet
//!   acknowledged ([`Swaps`]).
//! - The program **records** every verdict with its generation and time, before it acts on it. Each record must be what the
//!   model says of that generation's policy, lie between the call of its generation and the next one's acknowledgement, and
//!   have no smaller generation than the ones before it on its CPU. Records are numbered on each CPU: none is missing.

mod daemon;
mod expected;
mod judge;
mod kernel;
mod lane;
mod load;
mod payload;
mod policy;
mod receiver;
mod sender;
mod swaps;

pub use daemon::through_the_daemon;
pub use kernel::in_the_kernel;
pub use policy::{Kind, Policy, STREAMS, Stream};
pub use receiver::Arrival;
pub use swaps::Swaps;

use crate::atomicity::load::Outcome;
use anyhow::{Result, ensure};
use std::fmt;
use test_world::{Sandbox, World};

/// Port of the first lane, at both ends.
const FIRST_PORT: u16 = 9_100;

/// What a run has shown.
#[derive(Clone, Debug)]
pub struct Report {
    /// Changes of policy.
    pub swaps: u32,
    /// Mean time from call to acknowledgement, in milliseconds.
    pub swap_ms: f64,
    /// Datagrams that were sent.
    pub sent: u64,
    /// Those of them that both policies allow; all have arrived.
    pub shared: u64,
    /// What arrived of those that one policy allows.
    pub arrivals: usize,
    /// Datagrams sent in a second.
    pub rate: f64,
    /// How often a sender waited for long.
    pub stalls: u64,
    /// Records that were checked, and the CPUs they came from.
    pub records: Option<(u64, usize)>,
}

impl Report {
    /// The report of a run without faults.
    fn of(outcome: &Outcome, swaps: &Swaps, records: Option<(u64, usize)>, faults: &[String]) -> Result<Report> {
        let report = Report {
            swaps: swaps.generation() - 1,
            swap_ms: swaps.mean_ms(),
            sent: outcome.all(),
            shared: outcome.shared(),
            arrivals: outcome.arrivals(),
            rate: outcome.rate(),
            stalls: outcome.stalls(),
            records,
        };
        ensure!(faults.is_empty(), "{report}\n{}", faults.join("\n"));
        Ok(report)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { swaps, swap_ms, sent, shared, arrivals, rate, stalls, records } = self;
        write!(
            f,
            "{swaps} swaps of {swap_ms:.1} ms; {sent} datagrams at {rate:.0} a second, {shared} of them shared by both "
        )?;
        write!(f, "policies; {arrivals} of one policy alone arrived; {stalls} stalls")?;
        match records {
            Some((records, cpus)) => write!(f, "; {records} records of {cpus} CPUs"),
            None => Ok(()),
        }
    }
}

/// A world with a sandbox that asks nobody for its gateway, so that what it sends is what a test sends.
fn world(name: &str) -> Result<(World, Sandbox)> {
    let world = World::new(name)?;
    let sandbox = world.sandbox("a")?;
    let known = format!("lladdr {} dev eth0 nud permanent", sandbox.gateway_mac);
    let (v4, v6) = (sandbox.gateway4, sandbox.gateway6);
    sandbox.ip_batch(&format!("neighbour replace {v4} {known}\nneighbour replace {v6} {known}\n"))?;
    Ok((world, sandbox))
}

/// The sandbox's document under a policy. What is denied is dropped without an answer, which would be a packet of its own.
fn document(sandbox: &Sandbox, netns: Option<&str>, policy: Policy) -> serde_json::Value {
    let mut attach = serde_json::json!({ "interface": sandbox.device });
    if let Some(netns) = netns {
        attach["netns"] = netns.into();
    }
    serde_json::json!({
        "version": 1,
        "id": "a",
        "attach": attach,
        "addresses": [sandbox.v4, sandbox.v6],
        "onDeny": "drop",
        "network": policy.network(),
    })
}
