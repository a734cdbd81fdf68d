//! The metrics as text.

use super::Counted;
use super::scrape::Scrape;
use crate::daemon::news::News;
use crate::daemon::totals::Reading;
use filter_core::Reason;
use filter_core::abi::Counter as Row;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;

/// What the text is.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From a sandbox.
const FROM: &str = "from";
/// To one.
const TO: &str = "to";
/// One of the two: the kernel does not tell them apart.
const EITHER: &str = "either";

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;

/// Writes everything.
pub(super) fn text(scrape: &Scrape, counted: &Counted, news: &News) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("sandbox_filter");
    decisions(&mut registry, scrape);
    traffic(&mut registry, &scrape.all);
    told(&mut registry, &scrape.all, scrape.connections);
    state(&mut registry, scrape);
    let reconciliations = Counters::default();
    for (kind, count) in news.counts() {
        add(&reconciliations, &[("what", kind.name())], count);
    }
    let kept: Gauge = Gauge::default();
    kept.set(signed(news.denial_bytes() as u64));
    registry.register_with_unit("kept_denials", "What the denials take that are kept in memory", Unit::Bytes, kept);
    registry.register("reconciliations", "What the daemon has mended, marked or found", reconciliations);
    registry.register("updates", "Sandboxes by what calls did to them, and calls refused", counted.updates.clone());
    let help = "From a call until the kernel confirmed what it changed";
    registry.register_with_unit("update_duration", help, Unit::Seconds, counted.latency.clone());
    registry.register("api_requests", "Requests of both APIs", counted.requests.clone());
    let mut written = String::new();
    encode(&mut written, &registry)?;
    Ok(written)
}

fn decisions(registry: &mut Registry, scrape: &Scrape) {
    let decisions = Counters::default();
    if scrape.each.is_empty() {
        decided(&decisions, &scrape.all, None);
    }
    for (id, reading) in &scrape.each {
        decided(&decisions, reading, Some(id));
    }
    let help = "Packets and connections by the reason of their verdict; sandboxes that have ended are under no id";
    registry.register("decisions", help, decisions);
}

/// Adds the decisions about one sandbox, or all; of one only what there is.
fn decided(to: &Counters, reading: &Reading, id: Option<&str>) {
    // Counted without a reason.
    let reasons = Reason::ALL.iter().filter(|reason| !matches!(reason, Reason::OwnSocket | Reason::Inbound));
    let by_reason =
        reasons.map(|reason| (reason.name(), reason.allows(), direction(*reason), reading.decided(*reason)));
    let received = ("inbound-allowed", true, TO, reading.get(Row::InboundAllowed));
    for (reason, allowed, direction, count) in by_reason.chain([received]) {
        let mut labels = vec![("reason", reason), ("verdict", verdict(allowed)), ("direction", direction)];
        labels.extend(id.map(|id| ("sandbox", id)));
        if count > 0 || id.is_none() {
            add(to, &labels, count);
        }
    }
}

/// Which way packets with a reason go.
fn direction(reason: Reason) -> &'static str {
    match reason.number() {
        _ if reason.allows() => FROM,
        30..50 | 53 | 54 => FROM,
        60 | 61 => TO,
        _ => EITHER,
    }
}

fn verdict(allowed: bool) -> &'static str {
    if allowed { "allowed" } else { "denied" }
}

fn traffic(registry: &mut Registry, all: &Reading) {
    let (packets, bytes) = (Counters::default(), Counters::default());
    for (allowed, direction, packet_count, byte_count) in [
        (true, FROM, all.packets(true), all.get(Row::BytesAllowed)),
        (true, TO, all.get(Row::InboundAllowed), all.get(Row::InboundBytes)),
        (false, EITHER, all.packets(false), all.get(Row::BytesDenied)),
    ] {
        let labels = [("verdict", verdict(allowed)), ("direction", direction)];
        add(&packets, &labels, packet_count);
        add(&bytes, &labels, byte_count);
    }
    registry.register("packets", "Packets of all sandboxes", packets);
    registry.register_with_unit("traffic", "Their bytes, with link-layer headers", Unit::Bytes, bytes);
}

fn told(registry: &mut Registry, all: &Reading, connections: [(&'static str, u64); 2]) {
    let (events, rejects) = (Counters::default(), Counters::default());
    for (outcome, row) in [("sent", Row::EventsSent), ("suppressed", Row::EventsSuppressed), ("lost", Row::EventsLost)]
    {
        add(&events, &[("outcome", outcome)], all.get(row));
    }
    for (outcome, row) in [("sent", Row::RejectsSent), ("suppressed", Row::RejectsSuppressed)] {
        add(&rejects, &[("outcome", outcome)], all.get(row));
    }
    registry.register(
        "deny_events",
        "Deny events: told, held back by the rate limit, lost as the ring was full",
        events,
    );
    let logged = Counters::default();
    for (outcome, count) in connections {
        add(&logged, &[("outcome", outcome)], count);
    }
    let help = "Lines of the log of connections: written, lost as the disk or whoever writes did not keep up";
    registry.register("logged_connections", help, logged);
    registry.register("rejects", "Answers to denied packets: sent, held back by the rate limit", rejects);
}

fn state(registry: &mut Registry, scrape: &Scrape) {
    let sandboxes = Family::<Labels, Gauge>::default();
    for (state, count) in ["active", "sealed", "detached"].into_iter().zip(scrape.states) {
        sandboxes.get_or_create(&labels(&[("state", state)])).set(signed(count as u64));
    }
    registry.register("sandboxes", "Sandboxes by their state", sandboxes);
    let gauge = |registry: &mut Registry, name: &str, help: &str, value: u64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(signed(value));
        registry.register(name, help, gauge);
    };
    let sidecar = scrape.sidecar.as_ref();
    gauge(registry, "sidecar_up", "Whether the sidecar runs", sidecar.is_some_and(|one| one.pid.is_some()).into());
    let served = sidecar.map_or(0, |one| one.sandboxes as u64);
    gauge(registry, "sidecar_sandboxes", "Sandboxes that the sidecar works for", served);
    gauge(registry, "orphans", "Hooks that no record knows", scrape.orphans as u64);
    let counter = |registry: &mut Registry, name: &str, help: &str, value: u64| {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    let restarts = sidecar.map_or(0, |one| one.restarts.into());
    counter(registry, "sidecar_restarts", "How often the sidecar was replaced", restarts);
    counter(registry, "strays", "Packets on devices that belong to no sandbox", scrape.strays);
    let build = Family::<Labels, Gauge>::default();
    let abi = filter_core::abi::VERSION.to_string();
    build.get_or_create(&labels(&[("version", env!("CARGO_PKG_VERSION")), ("abi", &abi)])).set(1);
    registry.register("build_info", "The daemon's version, and that of its kernel ABI", build);
}

fn add(to: &Counters, with: &[(&'static str, &str)], count: u64) {
    to.get_or_create(&labels(with)).inc_by(count);
}

fn labels(pairs: &[(&'static str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
