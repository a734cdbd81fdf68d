//! Ten thousand sandboxes of one daemon.

use super::daemon::Daemon;
use super::yard::{Yard, address};
use crate::figure::{Estimate, Figure, Unit};
use crate::report::Section;
use crate::stats::median;
use anyhow::{Result, ensure};
use filter_ctl::api::Change;
use serde_json::{Value, json};
use std::time::Instant;

/// Sandboxes.
const SANDBOXES: u32 = 10_000;
/// Those that come in one call.
const AT_ONCE: u32 = 250;
/// Calls at either end whose times are compared.
const COMPARED: usize = 5;

pub(crate) fn measure() -> Result<Section> {
    let yard = Yard::new(SANDBOXES)?;
    let daemon = Daemon::start("many", &yard.netns, "hook: clsact\n")?;
    let local = daemon.local();
    let mut times = Vec::new();
    for first in (0..SANDBOXES).step_by(AT_ONCE as usize) {
        let documents: Vec<Value> = (first..first + AT_ONCE).map(|at| document(at, 0)).collect();
        let started = Instant::now();
        let reply = local.apply(&documents)?;
        times.push(started.elapsed().as_nanos() as f64 / f64::from(AT_ONCE));
        ensure!(reply.results.iter().all(|applied| applied.change == Change::Created), "not created");
    }
    // The first call loads the program for the devices' namespace.
    let first = ends(&times[1..=COMPARED]);
    let last = ends(&times[times.len() - COMPARED..]);
    let growth = Estimate::exact(last.value / first.value);
    let all = times.iter().sum::<f64>() * f64::from(AT_ONCE);
    Ok(Section::new("10,000 sandboxes")
        .text(format!(
            "Sandboxes of one daemon on devices of one namespace, applied {AT_ONCE} in a call; the time of a call divided by its \
             sandboxes, confirmed and on disk. By clsact: a TCX hook waits for a grace period of its own, under the lock of all \
             network devices, so ten thousand take minutes. Medians of the first and of the last {COMPARED} calls; the intervals span them."
        ))
        .figure(
            Figure::new("applying one, with 10,000 there", Unit::Nanoseconds, last)
                .beside("the first ones", first)
                .must("the first ones", 1.3, growth),
        )
        .figure(Figure::new("all of them", Unit::Nanoseconds, Estimate::exact(all))))
}

/// The document of a sandbox, in one of several versions.
pub(crate) fn document(at: u32, version: u32) -> Value {
    json!({
        "version": 1,
        "id": format!("s{at}"),
        "attach": { "interface": format!("d{at}") },
        "addresses": [address(at)],
        "network": { "denyOut": ["0.0.0.0/0"], "allowOut": ["203.0.113.0/24", format!("192.0.2.{version}")] },
    })
}

fn ends(values: &[f64]) -> Estimate {
    let (low, high) =
        (values.iter().copied().fold(f64::INFINITY, f64::min), values.iter().copied().fold(0.0, f64::max));
    Estimate::new(median(&mut values.to_vec()), low, high)
}
