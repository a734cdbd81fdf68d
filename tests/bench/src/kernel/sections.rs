//! The report of the packet's way.

use crate::chart::{self, Bar, Kind};
use crate::figure::{Estimate, Figure, Target, Unit};
use crate::report::{Report, Section};
use crate::rounds::Measured;
use crate::setup::Setup;
use crate::stats::{Series, difference, estimate, mean};

/// What the keys of connections' series end with.
const TCP: &str = ".tcp";
/// The same of series by the thread's CPU time.
const CPU: &str = ".cpu";

/// Bars of the chart.
const BARS: &[(&str, Kind)] = &[
    ("again", Kind::Floor),
    ("empty", Kind::Floor),
    ("least", Kind::Floor),
    ("checked", Kind::Floor),
    ("lookup", Kind::Floor),
    ("ours", Kind::Ours),
    ("ours-1m", Kind::Ours),
    ("clsact", Kind::Ours),
    ("nft", Kind::Rival),
    ("nft-ct", Kind::Rival),
    ("lookup-1m", Kind::Rival),
];

const METHOD: &str = "A client, a router and a server in network namespaces, two device pairs apart; the filter is where a sandbox's \
    would be, at the router's device towards the client. One thread on one CPU sends 64 datagrams of 18 bytes to random destinations \
    of the list and takes them at the far end, six such batches on the path in question and six on a bare \
    path in turns, of which the first does not count, for 8 ms on each, after twelve that warm the caches up; what is compared are the medians. In every round each configuration has such a visit or, where it matters most, the \
    mean of three, in a new random order. All programs by tcx, and the bare paths, are measured in one world, where one program takes the \
    other's place behind the same link, on the way of one of two clients; the bare path is the other client's, and they change places \
    halfway. The others have worlds of their own. All namespaces are built \
    anew a few times; the intervals (bootstrap over these, then over rounds) cover that too. The list is so many scattered `/24`s; \
    all else is denied.";

/// Adds the sections.
pub(super) fn add(report: &mut Report, measured: &Measured, chart: &str) {
    let mut path = Section::new("An allowed packet").text(METHOD);
    path.chart = Some((chart.to_owned(), "What a packet costs more than on the bare path, in nanoseconds".to_owned()));
    path.figures = allowed(measured);
    report.add(path);
    report.add(denied(measured));
    report.add(connections(measured));
    report.add(programs(measured));
}

/// What a short run has measured, and whether it is what was recorded.
pub(super) fn short(measured: &Measured, targets: &[Target; 2]) -> Section {
    let ours = Figure::new("added by the filter", Unit::Nanoseconds, added(measured, "ours"))
        .beside("one LPM lookup", added(measured, "lookup"))
        .beside("nothing attached, again", noise(measured));
    let section = Section::new("An allowed packet, against what was recorded").figure(Figure::new(
        "bare path",
        Unit::Nanoseconds,
        total(measured, &[]),
    ));
    section.figure(targets.iter().cloned().fold(ours, Figure::target))
}

/// The chart of what each configuration adds.
pub(super) fn chart(measured: &Measured) -> String {
    let bar = |(key, kind): &(&str, Kind)| {
        let name = Setup::of(key).name.to_owned();
        let estimate = || if *key == "again" { noise(measured) } else { added(measured, key) };
        measured.contains_key(*key).then(|| Bar { name, kind: *kind, estimate: estimate() })
    };
    let bars: Vec<Bar> = BARS.iter().filter_map(bar).collect();
    chart::render("Added to the bare path, ns a packet", &bars)
}

/// The bare path; with keys the ratio of the first one's path to it.
pub(super) fn total(measured: &Measured, keys: &[&str]) -> Estimate {
    path(measured, "", keys)
}

/// What a configuration adds to the bare path.
pub(super) fn added(measured: &Measured, key: &str) -> Estimate {
    estimate(&[&more(measured, key, "")], |medians| medians[0])
}

/// What nothing adds: the bare path against itself.
pub(super) fn noise(measured: &Measured) -> Estimate {
    added(measured, "again")
}

fn path(measured: &Measured, kind: &str, keys: &[&str]) -> Estimate {
    let bare = bare(measured, kind);
    match keys.first() {
        None => estimate(&[&bare], |medians| medians[0]),
        Some(key) => estimate(&[&more(measured, key, kind), &bare], |medians| (medians[1] + medians[0]) / medians[1]),
    }
}

fn bare(measured: &Measured, kind: &str) -> Series {
    let [again, bare] = pair("again", kind);
    mean(&measured[&again], &measured[&bare])
}

fn more(measured: &Measured, key: &str, kind: &str) -> Series {
    let [own, bare] = pair(key, kind);
    difference(&measured[&own], &measured[&bare])
}

/// The keys of a configuration's series and of the bare path's next to it.
fn pair(key: &str, kind: &str) -> [String; 2] {
    if kind == CPU {
        [format!("{key}{CPU}"), format!("{key}.bare{CPU}")]
    } else {
        [format!("{key}{kind}"), format!("{key}{kind}.bare")]
    }
}

/// What one configuration adds, as a multiple of what another does.
fn times(measured: &Measured, one: &str, other: &str) -> Estimate {
    estimate(&[&more(measured, one, ""), &more(measured, other, "")], |medians| medians[0] / medians[1])
}

fn allowed(measured: &Measured) -> Vec<Figure> {
    let add =
        |key: &str| Figure::new(format!("added by {}", Setup::of(key).name), Unit::Nanoseconds, added(measured, key));
    let by_cpu = |key: &str| estimate(&[&more(measured, key, CPU)], |medians| medians[0]);
    let lookup = "what one lookup adds";
    let mut figures = vec![
        Figure::new("bare path", Unit::Nanoseconds, total(measured, &[])),
        Figure::new("the bare path against itself", Unit::Nanoseconds, noise(measured))
            .note("half the width of this interval is the least that can be told apart"),
        add("empty"),
        add("least"),
        add("checked"),
        add("lookup"),
        add("ours")
            .beside("one lookup of the same list", added(measured, "lookup"))
            .beside("nft set", added(measured, "nft"))
            .must(lookup, 1.3, times(measured, "ours", "lookup"))
            .aim(
                lookup,
                1.1,
                times(measured, "ours", "lookup"),
                "fewer lines of memory a packet: counters and attachment in one element",
            )
            .must("what an nft set adds", 0.2, times(measured, "ours", "nft")),
        Figure::new("the same by the thread's CPU time", Unit::Nanoseconds, by_cpu("ours"))
            .beside("one lookup of the same list", by_cpu("lookup")),
        Figure::new("the filter's path", Unit::Ratio, total(measured, &["ours"]))
            .beside("with empty programs", total(measured, &["empty"]))
            .beside("with the least that a filter needs", total(measured, &["least"]))
            .beside("with the checks that none can do without", total(measured, &["checked"]))
            .must("the bare path", 1.03, total(measured, &["ours"])),
        add("ours-1m")
            .beside("one look at as much memory", added(measured, "access"))
            .beside("one LPM lookup of the same list", added(measured, "lookup-1m"))
            .aim(
                "what it adds at 1,000",
                1.5,
                times(measured, "ours-1m", "ours"),
                "the nodes in huge pages of memory, or the node fetched ahead of the checks before the search",
            ),
        add("clsact").beside("by tcx", added(measured, "ours")),
        add("nft"),
        add("nft-ct"),
        add("lookup-1m"),
    ];
    let past = total(measured, &["past"]);
    figures.push(Figure::new("past the rest of the stack", Unit::Ratio, past).aim(
        "the bare path",
        1.0,
        past,
        "route and neighbour kept with the sandbox",
    ));
    figures
}

fn denied(measured: &Measured) -> Section {
    let one = |key: &str| estimate(&[&measured[key]], |medians| medians[0]);
    let ratio = |key: &str| estimate(&[&measured[key], &measured["sent"]], |medians| medians[0] / medians[1]);
    Section::new("A denied packet")
        .text(
            "The sender's calls alone, which on one CPU take until the packet is delivered, dropped or answered: an allowed packet's \
             whole way but for the receiver's calls, against a denied one's way to its end.",
        )
        .figure(
            Figure::new("denied and dropped", Unit::Nanoseconds, one("dropped"))
                .beside("allowed", one("sent"))
                .must("an allowed packet", 1.0, ratio("dropped")),
        )
        .figure(
            Figure::new("denied and answered by ICMP", Unit::Nanoseconds, one("rejected"))
                .beside("allowed", one("sent"))
                .note(format!("{} × an allowed packet", Unit::Ratio.estimate(&ratio("rejected")))),
        )
}

fn connections(measured: &Measured) -> Section {
    let tcp = |key: &str| {
        let more = more(measured, key, TCP);
        estimate(&[&more, &bare(measured, TCP)], |medians| medians[0] + medians[1])
    };
    let whole = |key: &str| {
        Figure::new(Setup::of(key).name, Unit::Nanoseconds, tcp(key))
            .note(format!("{} × the bare path", Unit::Ratio.estimate(&path(measured, TCP, &[key]))))
    };
    Section::new("A TCP connection")
        .text("Connect, a request of 64 bytes, a response of 64 bytes, close; both ends in one thread on one CPU.")
        .figure(Figure::new("bare path", Unit::Nanoseconds, path(measured, TCP, &[])))
        .figure(whole("again"))
        .figure(whole("empty"))
        .figure(whole("least"))
        .figure(whole("checked"))
        .figure(whole("lookup"))
        .figure(
            whole("ours")
                .beside("with empty programs", tcp("empty"))
                .beside("with the least that a filter needs", tcp("least"))
                .beside("with the checks that none can do without", tcp("checked"))
                .beside("with one lookup", tcp("lookup"))
                .must("the bare path", 1.015, path(measured, TCP, &["ours"])),
        )
        .figure(whole("past"))
        .figure(whole("nft"))
        .figure(whole("nft-ct"))
}

fn programs(measured: &Measured) -> Section {
    let one = |key: &str| estimate(&[&measured[key]], |medians| medians[0]);
    Section::new("The programs alone")
        .text(
            "`BPF_PROG_TEST_RUN`, 2,000 runs a frame, which keep all that the frame needs in the nearest cache: not what a packet \
             costs, but what the instructions do.",
        )
        .figure(Figure::new("an empty program", Unit::Nanoseconds, one("empty.program")))
        .figure(Figure::new("one LPM lookup", Unit::Nanoseconds, one("lookup.program")))
        .figure(Figure::new("the filter, which allows", Unit::Nanoseconds, one("ours.program")))
        .figure(Figure::new("the filter, which denies", Unit::Nanoseconds, one("dropped.program")))
}
