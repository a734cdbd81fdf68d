//! `bench`: what the filter costs, beside its floors and its rivals. `cargo xtask bench` builds what it needs and runs it.
#![forbid(unsafe_code)]

mod control;
mod figure;
mod private;
mod probe;
mod report;
mod rounds;
mod setup;
mod spread;
mod stats;
mod world;

use anyhow::Result;
use probe::Probe;
use rounds::{Plan, Row};
use setup::{Kit, List};
use std::time::Duration;

fn main() -> Result<()> {
    private::enter()?;
    let kit = Kit::new("target/bpf".as_ref(), false)?;
    let t = std::time::Instant::now();
    let k = List::Thousand.spread();
    let m = List::Million.spread();
    let ms = Duration::from_millis(20);
    let mut rows = Vec::new();
    for s in setup::SETUPS {
        rows.push(Row {
            key: s.key,
            setup: s.key,
            probe: Probe::Delivered(if s.list == List::Thousand { k } else { m }),
            slice: ms,
        });
    }
    rows.push(Row { key: "sent", setup: "ours", probe: Probe::Sent(k), slice: ms });
    rows.push(Row { key: "denied", setup: "ours", probe: Probe::Denied(k), slice: ms });
    rows.push(Row { key: "rejected", setup: "reject", probe: Probe::Denied(k), slice: ms });
    for (key, s) in
        [("tcp", "bare"), ("tcp-again", "again"), ("tcp-ours", "ours"), ("tcp-nft", "nft"), ("tcp-ct", "nft-ct")]
    {
        rows.push(Row { key, setup: s, probe: Probe::Connection(k), slice: ms });
    }
    let m = rounds::measure(&kit, &rows, &[], Plan { blocks: 2, traffic: Duration::from_secs(10) }, 1)?;
    println!("{:?}", t.elapsed());
    for (k, v) in &m {
        let e = stats::estimate(&[v], |x| x[0]);
        println!("{k} {e:?} {}", v.iter().map(|v| v.len()).sum::<usize>());
    }
    Ok(())
}
