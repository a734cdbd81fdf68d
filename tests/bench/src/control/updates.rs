//! A new policy of 10,000 CIDRs, from its text to the kernel's word that it is in force.

use super::lists;
use super::yard::{Filter, Yard, slot};
use crate::figure::{Estimate, Figure, Unit};
use crate::report::Section;
use crate::stats::{Series, estimate};
use crate::world::Netns;
use anyhow::{Context, Result};
use filter_dataplane::time_bare_inserts;
use filter_policy::{Operator, Sandbox, compile, parse, validate};
use ipnet::IpNet;
use std::fmt::Write;
use std::time::Instant;

/// Prefixes of the policy.
const CIDRS: u32 = 10_000;
/// Prefixes of the largest one.
const MILLION: u32 = 1_000_000;
/// Rounds, in each of which everything is done once.
const ROUNDS: u32 = 25;

/// What was measured, in nanoseconds.
#[derive(Default)]
struct Measured {
    parse: Vec<f64>,
    compile: Vec<f64>,
    build: Vec<f64>,
    effective: Vec<f64>,
    confirmed: Vec<f64>,
    grace: Vec<f64>,
    bare: Vec<f64>,
    nft: Vec<f64>,
}

pub(super) fn measure() -> Result<Section> {
    let yard = Yard::new(1)?;
    let mut filter = Filter::new("updates")?;
    filter.attach(&yard, 0, 1, &lists::compiled(0, 1))?;
    let prefixes = lists::prefixes(CIDRS);
    let (text, rules) = (document(&prefixes)?, rules(&prefixes)?);
    let rival = Netns::new()?;
    let mut measured = Measured::default();
    let mut generation = 1;
    for _ in 0..ROUNDS {
        round(&mut measured, &mut filter, &mut generation, &text, &prefixes)?;
        let started = Instant::now();
        rival.run("nft", &["-f", "-"], &rules)?;
        measured.nft.push(nanoseconds(started));
    }
    let million = million(&mut filter, &mut generation)?;
    Ok(section(&measured).figure(million))
}

/// Everything of the filter's once, and what it is compared with.
fn round(
    measured: &mut Measured,
    filter: &mut Filter,
    generation: &mut u32,
    text: &str,
    prefixes: &[IpNet],
) -> Result<()> {
    measured.bare.push(time_bare_inserts(prefixes)?.as_nanos() as f64);

    *generation += 1;
    let nothing = lists::compiled(0, *generation);
    measured.grace.push(filter.dataplane().time_switch(slot(0), &nothing)?.confirmed.as_nanos() as f64);

    let started = Instant::now();
    let sandbox = read(text)?;
    measured.parse.push(nanoseconds(started));
    *generation += 1;
    let started = Instant::now();
    let compiled = compile(&sandbox.policy, &Operator::default(), *generation);
    let compile = nanoseconds(started);
    let switched = filter.dataplane().time_switch(slot(0), &compiled)?;
    let build = switched.built.as_nanos() as f64;
    measured.compile.push(compile);
    measured.build.push(build);
    measured.effective.push(compile + build);
    measured.confirmed.push(compile + build + switched.confirmed.as_nanos() as f64);
    Ok(())
}

/// A policy of a million prefixes, once: it works, and how long it takes.
fn million(filter: &mut Filter, generation: &mut u32) -> Result<Figure> {
    let policy = lists::policy(&lists::prefixes(MILLION));
    *generation += 1;
    let started = Instant::now();
    let compiled = compile(&policy, &Operator::default(), *generation);
    let compile = nanoseconds(started);
    let switched = filter.dataplane().time_switch(slot(0), &compiled)?;
    let state = filter.dataplane().state(slot(0))?.context("the sandbox is attached")?;
    anyhow::ensure!(state.generation == *generation, "the policy of a million prefixes is not in force");
    let build = switched.built.as_nanos() as f64;
    Ok(Figure::new("1,000,000 CIDRs, compiled and in the kernel", Unit::Nanoseconds, Estimate::exact(compile + build))
        .beside("of which compiled", Estimate::exact(compile))
        .beside("confirmed after", Estimate::exact(compile + build + switched.confirmed.as_nanos() as f64)))
}

fn section(measured: &Measured) -> Section {
    let of = |values: &[f64]| estimate(&[&single(values)], |medians| medians[0]);
    let times = estimate(&[&single(&measured.effective), &single(&measured.bare)], |m| m[0] / m[1]);
    let waits =
        estimate(&[&single(&measured.confirmed), &single(&measured.effective), &single(&measured.grace)], |m| {
            (m[0] - m[1]) / m[2]
        });
    let bare = of(&measured.bare);
    Section::new("A policy of 10,000 CIDRs")
        .text(format!(
            "Medians of {ROUNDS} rounds, in each of which everything was done once. A bare insert is `BPF_MAP_UPDATE_BATCH` of the same \
             list into an empty trie. A policy is *effective* when its pointer is stored, and *confirmed* when no packet is judged by the \
             older one any more."
        ))
        .figure(Figure::new("parsed and checked", Unit::Nanoseconds, of(&measured.parse)))
        .figure(Figure::new("compiled", Unit::Nanoseconds, of(&measured.compile)))
        .figure(Figure::new("built in the kernel", Unit::Nanoseconds, of(&measured.build)))
        .figure(
            Figure::new("effective: compiled and built", Unit::Nanoseconds, of(&measured.effective))
                .beside("bare inserts in one batch", bare)
                .beside("nft -f of the same list", of(&measured.nft))
                .must("bare inserts", 1.5, times),
        )
        .figure(
            Figure::new("confirmed", Unit::Nanoseconds, of(&measured.confirmed))
                .beside("a grace period", of(&measured.grace))
                .aim("a grace period, after it is effective", 1.5, waits, "maps for new nodes made ahead of the need"),
        )
}

fn single(values: &[f64]) -> Series {
    vec![values.to_vec()]
}

fn read(text: &str) -> Result<Sandbox> {
    let parsed = parse(text, "bench").map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let parsed = parsed.into_iter().next().context("no document")?;
    validate(&parsed.document, None, &Operator::default().limits).map_err(|problems| anyhow::anyhow!("{problems}"))
}

fn document(prefixes: &[IpNet]) -> Result<String> {
    let mut text = "version: 1\nid: a\nattach: {interface: d0}\naddresses: [198.18.0.2]\nnetwork:\n  \
                    denyOut: [0.0.0.0/0]\n  allowOut:\n"
        .to_owned();
    for prefix in prefixes {
        writeln!(text, "    - {prefix}")?;
    }
    Ok(text)
}

/// The same list as an nftables set, in the place of the one before.
fn rules(prefixes: &[IpNet]) -> Result<String> {
    let mut elements = String::new();
    for prefix in prefixes {
        write!(elements, "{prefix},")?;
    }
    Ok(format!(
        "table inet bench {{}}\ndelete table inet bench\n\
         table inet bench {{\n set allowed {{\n type ipv4_addr\n flags interval\n elements = {{ {elements} }}\n }}\n}}\n"
    ))
}

fn nanoseconds(since: Instant) -> f64 {
    since.elapsed().as_nanos() as f64
}
