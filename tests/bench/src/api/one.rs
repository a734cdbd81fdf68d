//! Updates one after the other.

use super::floors::Floors;
use super::world::{World, network};
use crate::figure::{Figure, Force, Target, Unit};
use crate::report::Section;
use crate::stats::{Series, estimate};
use anyhow::Result;
use std::time::Instant;

/// What an update may take besides one durable write and one grace period, in nanoseconds.
const BESIDES: f64 = 3e6;

pub(super) fn measure(world: &World, rounds: u32) -> Result<Section> {
    let mut floors = Floors::new(world.daemon.folder())?;
    let mut client = world.client()?;
    let (mut write, mut grace, mut update) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        write.push(floors.write()?);
        grace.push(floors.grace()?);
        let id = format!("s{}", fastrand::u32(..world.count));
        let network = network(round);
        let started = Instant::now();
        client.update(&id, &network)?;
        update.push(started.elapsed().as_nanos() as f64);
    }
    let (write, grace, update): (Series, Series, Series) = (vec![write], vec![grace], vec![update]);
    let of = |series: &Series| estimate(&[series], |medians| medians[0]);
    let besides = estimate(&[&update, &write, &grace], |m| m[0] - m[1] - m[2]);
    let target = Target {
        force: Force::Must,
        of: "what is besides both floors".to_owned(),
        limit: BESIDES,
        reached: besides,
        unit: Unit::Nanoseconds,
        next: String::new(),
    };
    Ok(Section::new("An update by one client")
        .text(format!(
            "`PUT /sandboxes/ID/network` with ten entries, one after the other over a connection that is kept, of one of {} sandboxes: \
             from the request to the answer, which comes when the policy is on disk and no packet is judged by an older one. The floors are \
             measured in the same rounds: a write of 8 KiB until it is on the same disk, and a switch of one policy by the kernel alone.",
            world.count
        ))
        .figure(
            Figure::new("an update", Unit::Nanoseconds, of(&update))
                .beside("a durable write", of(&write))
                .beside("a grace period", of(&grace))
                .target(target),
        ))
}
