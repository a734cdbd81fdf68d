//! What is measured in each round.

use crate::probe::Probe;
use crate::rounds::Row;
use crate::setup::{List, SETUPS, Setup};
use std::time::Duration;

/// Of a slice of datagrams: dozens of batches.
const DATAGRAMS: Duration = Duration::from_millis(25);
/// Of a slice of connections: some hundreds.
const CONNECTIONS: Duration = Duration::from_millis(30);

/// All.
pub(super) fn whole() -> Vec<Row> {
    let list = List::Thousand.spread();
    // What is on the way back is not on a datagram's.
    let mut rows: Vec<Row> = SETUPS.iter().filter(|setup| !setup.key.ends_with("-both")).map(delivered).collect();
    for (key, setup, probe) in [
        ("sent", "ours", Probe::Sent(list)),
        ("dropped", "ours", Probe::Denied(list)),
        ("rejected", "reject", Probe::Denied(list)),
    ] {
        rows.push(Row { key, setup, probe, slice: DATAGRAMS, slices: 1 });
    }
    for (key, setup) in [
        ("bare.tcp", "bare"),
        ("again.tcp", "again"),
        ("empty-both.tcp", "empty-both"),
        ("least-both.tcp", "least-both"),
        ("lookup-both.tcp", "lookup-both"),
        ("past.tcp", "past"),
        ("ours.tcp", "ours"),
        ("nft.tcp", "nft"),
        ("nft-ct.tcp", "nft-ct"),
    ] {
        let slices = slices(setup);
        rows.push(Row { key, setup, probe: Probe::Connection(list), slice: CONNECTIONS, slices });
    }
    rows
}

/// What the two ratios need that are compared with recorded ones.
pub(super) fn short() -> Vec<Row> {
    ["bare", "again", "lookup", "ours"].map(|key| delivered(Setup::of(key))).into()
}

fn delivered(setup: &Setup) -> Row {
    let probe = Probe::Delivered(setup.list.spread());
    Row { key: setup.key, setup: setup.key, probe, slice: DATAGRAMS, slices: slices(setup.key) }
}

/// What the targets are about is measured more often.
fn slices(key: &str) -> u32 {
    if ["bare", "again", "ours"].contains(&key) { 3 } else { 1 }
}
