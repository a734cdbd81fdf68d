//! Swaps by the library that the daemon uses, under the program that records.

use super::expected::{Expected, mac};
use super::judge::Judge;
use super::lane::Backlog;
use super::load::{Load, timed};
use super::policy::{Policy, compiled};
use super::swaps::Swaps;
use super::{FIRST_PORT, Report, document, world};
use anyhow::{Context, Result, anyhow};
use filter_core::Address;
use filter_core::abi::{Mac, Prefix, SandboxConfig};
use filter_dataplane::{Dataplane, Device, Place, Records};
use filter_policy::{Operator, parse, validate};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use test_world::Sandbox;

/// How long the reader rests when it has read all; the ring takes a million records.
const REST: Duration = Duration::from_micros(500);

/// Swaps so many times; every packet is recorded.
///
/// # Errors
/// Without root, what the kernel refused, or all that is otherwise than it must be.
pub fn in_the_kernel(swaps: u32) -> Result<Report> {
    let (world, sandbox) = world("atomic")?;
    let netns = world.host().name();
    let [a, b] = [Policy::A, Policy::B].map(|policy| checked(&document(&sandbox, Some(netns), policy)));
    let (a, b) = (a?, b?);
    let device = Device::find(&a.attach)?;
    let mut dataplane = Dataplane::open(world.pin_dir())?;
    let mut records = dataplane.record(device.netns_inode)?;
    let place = Place { slot: Dataplane::FIRST_SLOT, netns_inode: device.netns_inode, ifindex: device.ifindex };
    let of = |generation| compiled(if Policy::of(generation) == Policy::A { &a } else { &b }, generation);
    let mut log = Swaps::default();
    timed(&mut log, || Ok(dataplane.attach(place, &device, &config(&sandbox)?, &of(1))?))?;

    let backlog = Arc::new(Backlog::default());
    let load = Load::start(&sandbox, world.internet(), &backlog)?;
    let mut judge = Judge::new(Expected::of(&sandbox)?, FIRST_PORT, load.lanes());
    let ended = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        let reader = scope.spawn(|| read(&mut records, &mut judge, &backlog, &ended));
        let swapped = load.carry_on().and_then(|()| {
            (2..=swaps + 1).try_for_each(|generation| {
                let policy = of(generation);
                timed(&mut log, || Ok(dataplane.switch(place.slot, &policy)?))?;
                if generation % 1_000 == 0 {
                    println!("in the kernel: generation {generation} of {}", swaps + 1);
                }
                load.carry_on()
            })
        });
        let outcome = load.finish();
        ended.store(true, Ordering::Release);
        reader.join().map_err(|_| anyhow!("the reader of records panicked"))?;
        // When nothing arrives any more, what is wrong is in the records.
        let faults = swapped.err().map(|error| format!("{error:#}"));
        outcome.map(|outcome| (outcome, faults))
    });
    let (outcome, stuck) = outcome?;
    let seen = Some((judge.records(), judge.cpus()));
    let mut faults = judge.verdict(&log, &outcome.sent, &records.totals()?);
    faults.extend(outcome.faults(&log));
    faults.extend(stuck);
    Report::of(&outcome, &log, seen, &faults)
}

/// Reads until it is told that no more come, and all are read.
fn read(records: &mut Records, judge: &mut Judge, backlog: &Backlog, ended: &AtomicBool) {
    loop {
        let last = ended.load(Ordering::Acquire);
        let count = records.drain(|record| judge.take(record));
        backlog.read_to(judge.judged());
        if count == 0 && last {
            return;
        }
        if count == 0 {
            thread::sleep(REST);
        }
    }
}

fn checked(document: &serde_json::Value) -> Result<filter_policy::Sandbox> {
    let parsed = parse(&document.to_string(), "").map_err(|problem| anyhow!("{problem:?}"))?;
    let first = parsed.first().context("no document")?;
    validate(&first.document, None, &Operator::default().limits).map_err(|problems| anyhow!("{problems:?}"))
}

/// The attachment: its own addresses, and nobody is told of a denial.
fn config(sandbox: &Sandbox) -> Result<SandboxConfig> {
    let mut config = SandboxConfig {
        incarnation: 1,
        flags: 0,
        gateway_mac: Mac::new(mac(&sandbox.gateway_mac)?),
        ..SandboxConfig::EMPTY
    };
    for (prefix, address) in config.sources.iter_mut().zip([IpAddr::from(sandbox.v4), sandbox.v6.into()]) {
        *prefix = Prefix::new(Address::from(address), 128);
        config.source_count += 1;
    }
    Ok(config)
}
