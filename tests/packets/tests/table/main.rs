//! The packet table: every row is a test of its own name, and all run on one stage.

mod addresses;
mod answers;
mod arp;
mod captures;
mod dhcp;
mod ethernet;
mod extension_headers;
mod followed;
mod fragments;
mod icmp;
mod inbound;
mod inbound_flows;
mod inbound_link;
mod ip4;
mod ip4_options;
mod ip6;
mod lists;
mod living;
mod nameservers;
mod neighbour;
mod rejects;
mod sealed;
mod sources;
mod transport;
mod vlan;

use filter_core::Reason;
use libtest_mimic::{Arguments, Trial};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use test_packets::{Profile, Row, Stage};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let rows = rows();
    let stage = if arguments.list { None } else { Some(Stage::new("packets", Profile::ALL)) };
    let stage = match stage.transpose() {
        Ok(stage) => Arc::new(Mutex::new(stage)),
        Err(error) => {
            eprintln!("error: the stage cannot be set: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let complete = complete(&rows);
    let samples = one_of_each(&rows);
    let mut trials = vec![
        Trial::test("table::names_every_reason_that_the_program_can_give", move || complete.map_err(Into::into)),
        Trial::test("table::has_no_name_twice", {
            let names: Vec<String> = rows.iter().map(|(table, row)| format!("{table}::{}", row.name)).collect();
            move || unique(&names).map_err(Into::into)
        }),
        Trial::test("table::is_explained_without_a_trace", {
            let stage = Arc::clone(&stage);
            move || {
                let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
                let stage = stage.as_mut().ok_or("no stage")?;
                samples
                    .iter()
                    .try_for_each(|row| stage.check_explained(row))
                    .map_err(|error| format!("{error:#}").into())
            }
        }),
    ];
    trials.extend(rows.into_iter().map(|(table, row)| {
        let stage = Arc::clone(&stage);
        Trial::test(format!("{table}::{}", row.name), move || {
            let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
            let stage = stage.as_mut().ok_or("no stage")?;
            stage.check(&row).map(drop).map_err(|error| format!("{row:?}\n{error:#}").into())
        })
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
    match stage.take().map(|stage| stage.changes_without_traces()) {
        None => conclusion.exit_code(),
        Some(Ok(changes)) if changes.is_empty() => conclusion.exit_code(),
        Some(changed) => {
            eprintln!("error: packets have changed what programs only look into: {changed:#?}");
            ExitCode::FAILURE
        }
    }
}

/// The rows of one concern.
type Table = fn() -> Vec<Row>;

fn rows() -> Vec<(&'static str, Row)> {
    let tables: &[(&str, Table)] = &[
        ("ethernet", ethernet::rows),
        ("vlan", vlan::rows),
        ("arp", arp::rows),
        ("ip4", ip4::rows),
        ("ip4_options", ip4_options::rows),
        ("fragments", fragments::rows),
        ("ip6", ip6::rows),
        ("extension_headers", extension_headers::rows),
        ("neighbour", neighbour::rows),
        ("dhcp", dhcp::rows),
        ("icmp", icmp::rows),
        ("transport", transport::rows),
        ("addresses", addresses::rows),
        ("lists", lists::rows),
        ("nameservers", nameservers::rows),
        ("living", living::rows),
        ("captures", captures::rows),
        ("sources", sources::rows),
        ("sealed", sealed::rows),
        ("inbound", inbound::rows),
        ("inbound_link", inbound_link::rows),
        ("inbound_flows", inbound_flows::rows),
        ("answers", answers::rows),
        ("followed", followed::rows),
        ("rejects", rejects::rows),
    ];
    tables.iter().flat_map(|(table, rows)| rows().into_iter().map(|row| (*table, row))).collect()
}

/// What no made packet gets: a device without a sandbox has no counters to look at, a test run has no socket to give a packet to
/// (`bpf_sk_assign`), the sidecar's reasons are about names, and loopback is for cgroups.
const NOT_HERE: [Reason; 13] = [
    Reason::OwnLoopback,
    Reason::UnknownDevice,
    Reason::HandedOver,
    Reason::NameDenied,
    Reason::NoName,
    Reason::NotTls,
    Reason::HelloTooLong,
    Reason::HelloTooLate,
    Reason::AmbiguousRequest,
    Reason::UnjudgedProtocol,
    Reason::ProtectedName,
    Reason::ConnectionLimit,
    Reason::NotEnforced,
];

/// Every reason that a made packet can get has a row.
fn complete(rows: &[(&'static str, Row)]) -> Result<(), String> {
    let given: BTreeSet<Reason> = rows.iter().map(|(_, row)| row.reason).collect();
    let missing: Vec<&str> = Reason::ALL
        .iter()
        .filter(|reason| !NOT_HERE.contains(reason) && !given.contains(reason))
        .map(|reason| reason.name())
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("no row for {missing:?}")) }
}

/// The first row with every reason that the sandbox's packets get without a flow: `explain` knows of no flows.
fn one_of_each(rows: &[(&'static str, Row)]) -> Vec<Row> {
    let mut samples: Vec<Row> = Vec::new();
    for (_, row) in rows.iter().filter(|(_, row)| row.mark.is_none() && row.reason != Reason::Answer) {
        if !samples.iter().any(|other| other.reason == row.reason) {
            samples.push(row.clone());
        }
    }
    samples
}

fn unique(names: &[String]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(format!("two rows are called {name:?}")),
    }
}
