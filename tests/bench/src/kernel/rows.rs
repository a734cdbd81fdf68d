//! What is measured in each round.

use crate::probe::Probe;
use crate::rounds::Row;
use crate::setup::{List, SETUPS, Setup};
use std::time::Duration;

/// Of a slice of datagrams: some eighteen batches.
const DATAGRAMS: Duration = Duration::from_millis(8);
/// Of a slice of connections: some dozens.
const CONNECTIONS: Duration = Duration::from_millis(4);

/// All.
pub(super) fn whole() -> Vec<Row> {
    let list = List::Thousand.spread();
    let mut rows: Vec<Row> =
        SETUPS.iter().filter(|setup| !["bare", "reject"].contains(&setup.key)).map(delivered).collect();
    for (key, setup, probe) in [
        ("sent", "ours", Probe::Sent(list)),
        ("dropped", "ours", Probe::Denied(list)),
        ("rejected", "reject", Probe::Denied(list)),
    ] {
        rows.push(Row { key, setup, probe, slice: DATAGRAMS, slices: 1, paired: false });
    }
    for (key, setup) in [
        ("again.tcp", "again"),
        ("empty.tcp", "empty"),
        ("least.tcp", "least"),
        ("checked.tcp", "checked"),
        ("lookup.tcp", "lookup"),
        ("past.tcp", "past"),
        ("ours.tcp", "ours"),
        ("nft.tcp", "nft"),
        ("nft-ct.tcp", "nft-ct"),
    ] {
        let slices = slices(setup);
        rows.push(Row { key, setup, probe: Probe::Connection(list), slice: CONNECTIONS, slices, paired: true });
    }
    rows
}

/// What the two ratios need that are compared with recorded ones.
pub(super) fn short() -> Vec<Row> {
    ["again", "lookup", "ours"].map(|key| delivered(Setup::of(key))).into()
}

fn delivered(setup: &Setup) -> Row {
    let probe = Probe::Delivered(setup.list.spread());
    Row { key: setup.key, setup: setup.key, probe, slice: DATAGRAMS, slices: slices(setup.key), paired: true }
}

/// What the targets are about is measured more often.
fn slices(key: &str) -> u32 {
    match key {
        "again" | "ours" => 3,
        _ => 1,
    }
}
