//! The power fails at any moment: after any write, in the middle of it, with any of the writes since the last sync lost.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `POWER_CUTS` | workloads of 30 changes, each cut at every write | 1 |

use super::disk::{Disk, Done, apply};
use super::workload::{Step, Workload, truth};
use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use std::env;

/// Changes of one workload.
const CHANGES: usize = 30;
/// Random choices of lost writes at each moment.
const CHOICES: usize = 2;

#[test]
fn a_power_cut_takes_nothing_that_was_acknowledged() -> Result<()> {
    let workloads: u64 =
        env::var("POWER_CUTS").map_or(Ok(1), |text| text.parse()).context("POWER_CUTS is no number")?;
    let (mut cuts, mut old, mut new) = (0, 0, 0);
    for seed in 0..workloads {
        let mut workload = Workload::new(seed)?;
        let file = workload.disk.bytes();
        // What opening the store wrote already belongs to no step.
        let first = workload.disk.done();
        let mut steps = Vec::new();
        for _ in 0..CHANGES {
            workload.step(&mut steps)?;
            workload.agrees()?;
        }
        let log = workload.disk.log().split_off(first);
        let mut random = Rng::with_seed(seed);
        let mut before = file;
        // The file as the last sync left it, and what was done since.
        let mut since: Vec<&Done> = Vec::new();
        for (index, done) in log.iter().enumerate() {
            since.push(done);
            let (now, step) = (first + index + 1, at(&steps, first + index));
            for cut in cuts_of(&since, &mut random) {
                let mut bytes = before.clone();
                cut.iter().for_each(|done| apply(&mut bytes, done));
                let found = recovered(bytes).with_context(|| format!("seed {seed}, write {index}: {cut:?}"))?;
                // Acknowledged once all is done; nothing of it before.
                let is_new = found == step.after;
                let whole = is_new || (now < step.ended || *done != Done::Sync) && found == step.before;
                ensure!(
                    whole,
                    "seed {seed}, after write {index} of {} to {}: {found:?}\n  is neither\n{:?}\n  nor\n{:?}",
                    step.began,
                    step.ended,
                    step.before,
                    step.after
                );
                cuts += 1;
                if step.before != step.after {
                    *if is_new { &mut new } else { &mut old } += 1;
                }
            }
            if *done == Done::Sync {
                since.drain(..).for_each(|done| apply(&mut before, done));
            }
        }
    }
    println!("{cuts} power cuts in the middle of changes: {old} left what was before, {new} what was to be");
    ensure!(old > 100 && new > 100, "too few to show anything");
    Ok(())
}

/// The step that so much of the log belongs to.
fn at(steps: &[Step], index: usize) -> &Step {
    let next = steps.partition_point(|step| step.ended <= index);
    &steps[next]
}

/// What of the writes since the last sync may be on the disk. The last of `since` is under way.
fn cuts_of(since: &[&Done], random: &mut Rng) -> Vec<Vec<Done>> {
    let all: Vec<Done> = since.iter().map(|done| (*done).clone()).collect();
    let (last, earlier) = all.split_last().expect("something was done");
    if *last == Done::Sync {
        // It has returned.
        return vec![all];
    }
    let mut cuts = vec![all.clone(), vec![last.clone()]];
    if let Done::Write(offset, data) = last {
        for end in [1, 100, 512, data.len() / 2, data.len() - 1] {
            let torn = |part: std::ops::Range<usize>| Done::Write(offset + part.start as u64, data[part].to_vec());
            let end = end.min(data.len());
            cuts.push([earlier, &[torn(0..end)]].concat());
            cuts.push([earlier, &[torn(end..data.len())]].concat());
        }
    }
    for _ in 0..CHOICES {
        let mut some = all.clone();
        some.retain(|_| random.bool());
        cuts.push(some);
        let mut order = all.clone();
        random.shuffle(&mut order);
        order.truncate(random.usize(..=order.len()));
        cuts.push(order);
    }
    cuts
}

/// What the first daemon after the power cut finds.
fn recovered(bytes: Vec<u8>) -> Result<super::workload::Truth> {
    let disk = Disk::of(bytes);
    let store = disk.store("two")?;
    ensure!(store.load()?.iter().all(|(_, all)| all.next.is_none()), "something is still prepared");
    truth(&store)
}
