//! What a relay keeps in memory for a connection on which nothing is said.

use super::load::PATIENCE;
use super::peers::PEERS;
use super::place::{OURS, Place};
use super::server::Manner;
use crate::figure::{Estimate, Figure, Force, Target, Unit};
use crate::report::Section;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::Read;
use std::net::TcpStream;

/// Connections.
const MANY: u64 = 10_000;
/// Descriptors that a relay needs besides.
const SPARE: u64 = 300;
/// User memory that each may take.
const LIMIT: f64 = 8192.0;

/// Opens as many connections on each relay's way as there can be, one relay after the other.
pub(super) fn measure(cpu: usize, descriptors: u64) -> Result<Section> {
    let count = MANY.min((descriptors - SPARE) / 2);
    let place = Place::new(cpu)?;
    place.server.set(Manner::Hold);
    let ours = each(&place, OURS, count)?;
    let limit = Target {
        force: Force::Must,
        of: "memory: 8 KiB".to_owned(),
        limit: LIMIT,
        reached: ours,
        unit: Unit::Bytes,
        next: String::new(),
    };
    let mut figure = Figure::new("an idle connection", Unit::Bytes, ours).target(limit);
    for peer in PEERS {
        figure = figure.beside(peer.name, each(&place, peer.key, count)?);
    }
    place.end()?;
    Ok(Section::new("Idle connections")
        .text(format!(
            "{count} connections at a time that have been judged and answered, and on which nothing is said any more: what the relay's own memory \
             (`Pss` of `/proc/PID/smaps_rollup`) has grown by, divided by their number. The kernel's buffers are not in it."
        ))
        .figure(figure))
}

/// What each of so many connections takes on a way.
fn each(place: &Place, key: &'static str, count: u64) -> Result<Estimate> {
    let relay = place.relay(key).context("a way without a relay")?;
    let before = memory(relay)?;
    let (client, aim) = place.way(key);
    let open = || {
        let mut stream = aim.open()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut byte = [0; 16];
        ensure!(stream.read(&mut byte).context("the answer")? == 1 && byte[0] == 1, "no answer from the server");
        Ok(stream)
    };
    let open = || (0..count).map(|_| open()).collect::<Result<Vec<TcpStream>>>();
    let connections = client.netns.within(open).with_context(|| format!("idle: {key}"))?;
    let after = memory(relay)?;
    drop(connections);
    Ok(Estimate::exact((after - before) / count as f64))
}

/// A process's own memory, in bytes.
fn memory(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}
