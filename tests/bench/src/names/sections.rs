//! The report of connections.

use super::peers::PEERS;
use super::place::{AGAIN, ALONE, DIRECT, OURS};
use super::rounds::{Measure, Measured};
use crate::figure::{Estimate, Figure, Unit};
use crate::report::{Report, Section};
use crate::stats::{Series, difference, estimate, mean};

/// The rivals; the last peer is the floor.
const RIVALS: usize = PEERS.len() - 1;

const METHOD: &str = "A client, a router and a server in network namespaces, two device pairs apart. The relays are at the router, with a \
    worker each and what their manuals advise; the filter's way is a sandbox's: the kernel program hands the connection over, whatever address it \
    is for, and the sidecar dials the name. The server's name is in the others' configuration; the sidecar asks a resolver, and remembers. \
    Client, relay and server share one CPU: what is measured is all the work that a connection makes. In every round each way is measured \
    once, in a new random order; all is built anew a few times, and the intervals (bootstrap over these, then over rounds) cover that too.";

/// Adds the sections.
pub(super) fn add(report: &mut Report, measured: &Measured) {
    report.add(connections(measured));
    report.add(bulk(measured));
    report.add(paced(measured));
}

fn connections(measured: &Measured) -> Section {
    let figures = Figures { measured, measure: Measure::Connections };
    let section = Section::new("A TLS connection").text(METHOD).text(
        "Connect, a `ClientHello` of 517 bytes, a byte in answer, the end, which the server begins; 16 connections at a time. The least \
         that a relay needs is one that knows one server and copies.",
    );
    let ours =
        figures.whole(OURS, "the filter and its sidecar").must("the best rival", 1.0 / 0.95, figures.to_best()).aim(
            "a direct connection",
            1.45,
            figures.to_direct(OURS),
            "what the kernel does for two connections: the relay that only copies takes as long",
        );
    let work = Figures { measured, measure: Measure::Work };
    let by_cpu = |key: &'static str| estimate(&[work.of(key)], |medians| medians[0]);
    let mut cpu = work
        .whole(OURS, "the filter's by the CPU time of all three processes")
        .beside("direct", by_cpu(DIRECT))
        .beside("the sidecar alone", by_cpu(ALONE));
    for peer in &PEERS {
        cpu = cpu.beside(peer.name, by_cpu(peer.key));
    }
    cpu.note = format!("{}; {} × the best rival's", cpu.note, Unit::Ratio.estimate(&work.to_best()));
    section_of(section, &figures, ours).figure(cpu)
}

fn bulk(measured: &Measured) -> Section {
    let figures = Figures { measured, measure: Measure::Bulk };
    let section = Section::new("A MiB from the server")
        .text("One connection, into which the server pours; the time a MiB takes.");
    let ours =
        figures.whole(OURS, "the filter and its sidecar").must("the best rival", 1.0 / 0.95, figures.to_best()).aim(
            "a direct connection",
            1.0 / 0.9,
            figures.to_direct(OURS),
            "bytes that do not pass through a relay's memory",
        );
    section_of(section, &figures, ours)
}

fn paced(measured: &Measured) -> Section {
    let figures = Figures { measured, measure: Measure::Paced };
    let direct = figures.direct();
    let added = |key: &'static str| difference(figures.of(key), &direct);
    let of = |key: &'static str| estimate(&[&added(key)], |medians| medians[0]);
    let rivals: Vec<Series> = PEERS[..RIVALS].iter().map(|peer| added(peer.key)).collect();
    let own = added(OURS);
    let all: Vec<&Series> = [&own].into_iter().chain(&rivals).collect();
    let to_best = estimate(&all, |medians| medians[0] / medians[1..].iter().copied().fold(f64::INFINITY, f64::min));
    let mut ours = Figure::new("added by the filter and its sidecar", Unit::Nanoseconds, of(OURS)).must(
        "the rival that adds least",
        1.0,
        to_best,
    );
    for peer in &PEERS {
        ours = ours.beside(peer.name, of(peer.key));
    }
    Section::new("At half load")
        .text(
            "Connections that begin at fixed times, with twice the time between them that one takes on the slowest way when as many as can be \
             are made: the time from when it was to begin until its end, below which 99 of 100 are, less that of a direct connection. Each \
             way has 15 slices of 40 ms in a round, by turns, and the quietest five count, for each way alike: a host that gives the CPU to \
             others now and then is not what is asked for.",
        )
        .figure(Figure::new("a direct connection", Unit::Nanoseconds, estimate(&[&direct], |medians| medians[0])))
        .figure(Figure::new("the same again", Unit::Nanoseconds, of(AGAIN)).note("less the mean of both: what cannot be told apart"))
        .figure(ours)
}

/// The ways without a relay, the filter's, and the others.
fn section_of(section: Section, figures: &Figures<'_>, ours: Figure) -> Section {
    let direct = estimate(&[&figures.direct()], |medians| medians[0]);
    let section = section
        .figure(Figure::new("a direct connection", Unit::Nanoseconds, direct))
        .figure(figures.whole(AGAIN, "the same again"))
        .figure(ours)
        .figure(figures.whole(ALONE, "the sidecar alone, without the kernel's part"));
    PEERS.iter().fold(section, |section, peer| section.figure(figures.whole(peer.key, peer.name)))
}

/// What was measured of one kind.
struct Figures<'a> {
    measured: &'a Measured,
    measure: Measure,
}

impl Figures<'_> {
    fn of(&self, key: &'static str) -> &Series {
        &self.measured[&(self.measure, key)]
    }

    fn direct(&self) -> Series {
        mean(self.of(DIRECT), self.of(AGAIN))
    }

    fn to_direct(&self, key: &'static str) -> Estimate {
        estimate(&[self.of(key), &self.direct()], |medians| medians[0] / medians[1])
    }

    fn whole(&self, key: &'static str, name: &str) -> Figure {
        Figure::new(name, Unit::Nanoseconds, estimate(&[self.of(key)], |medians| medians[0]))
            .note(format!("{} × a direct connection", Unit::Ratio.estimate(&self.to_direct(key))))
    }

    /// The filter's way as a multiple of the best rival's.
    fn to_best(&self) -> Estimate {
        let rivals = PEERS[..RIVALS].iter().map(|peer| self.of(peer.key));
        let all: Vec<&Series> = [self.of(OURS)].into_iter().chain(rivals).collect();
        estimate(&all, |medians| medians[0] / medians[1..].iter().copied().fold(f64::INFINITY, f64::min))
    }
}
