//! Metrics, health and readiness, as a scraper on the host gets them.

use anyhow::{Context, Result, ensure};
use filter_core::Reason;
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use test_scenarios::{Daemon, SOON, Setup, Stage, has_tcx, http, udp};
use test_world::internet::{WEB, WEB_NEIGHBOUR};
use test_world::{World, wait_until};

const CONFIG: &str = "metrics: {}\n";
const DENY: &str = r#"denyOut: ["0.0.0.0/0"]"#;
const RESOLVER: &str = "203.0.113.53";

/// The status and the body that curl gets on the host.
fn ask(world: &World, options: &[&str], path: &str) -> Result<(u16, String)> {
    let url = format!("http://127.0.0.1:9464{path}");
    let asked = [&["curl", "-s", "--max-time", "10", "-w", "\n%{http_code}"], options, &[&url]].concat();
    let out = world.host().run(&asked)?.ok()?.stdout;
    let (body, status) = out.rsplit_once('\n').context("no status")?;
    Ok((status.parse()?, body.to_owned()))
}

fn ready(stage: &Stage) -> Result<(u16, String)> {
    ask(&stage.world, &[], "/ready")
}

/// The samples, by name and labels.
pub(crate) fn scrape(stage: &Stage) -> Result<BTreeMap<String, f64>> {
    let (status, text) = ask(&stage.world, &[], "/metrics")?;
    ensure!(status == 200 && text.trim_end().ends_with("# EOF"), "{status}: {text}");
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').with_context(|| format!("no sample: {line}"))?;
            let name = name.strip_prefix("sandbox_filter_").with_context(|| format!("no prefix: {line}"))?;
            Ok((name.to_owned(), value.parse()?))
        })
        .collect()
}

/// The sum of all samples that begin with a name and have all of these labels.
pub(crate) fn sum(samples: &BTreeMap<String, f64>, name: &str, labels: &[&str]) -> f64 {
    let has = |sample: &&String| sample.starts_with(name) && labels.iter().all(|label| sample.contains(label));
    samples.iter().filter(|(sample, _)| has(sample)).map(|(_, value)| value).sum()
}

const DENIED: &str = r#"reason="address-denied""#;

#[test]
fn a_scrape_tells_what_the_counters_tell_and_never_goes_back() -> Result<()> {
    let stage = Stage::with("scrape", &Setup { config: CONFIG, ..Setup::default() })?;
    let b = stage.world.sandbox("b")?;
    stage.apply(&stage.a, &format!(r#"{DENY}, allowOut: ["{WEB}"]"#))?;
    stage.apply(&b, DENY)?;
    ensure!(http(WEB).gets_through(&stage.a, true)?);
    for sandbox in [&stage.a, &b] {
        ensure!(!udp(WEB_NEIGHBOUR).gets_through(sandbox, false)?);
    }
    let counted = stage.counted(&stage.a, Reason::AddressDenied)? + stage.counted(&b, Reason::AddressDenied)?;
    let first = scrape(&stage)?;
    ensure!(counted >= 2 && sum(&first, "decisions_total", &[DENIED]) == counted as f64, "{counted}: {first:?}");
    let status = stage.daemon.status("a")?;
    let allowed = sum(&first, "decisions_total", &[r#"reason="allowed-by-list""#, r#"direction="from""#]);
    ensure!(allowed == status.counters.reasons["allowed-by-list"] as f64);
    for (name, labels) in [
        ("packets_total", [r#"verdict="allowed""#, r#"direction="to""#]),
        ("traffic_bytes_total", [r#"verdict="allowed""#, r#"direction="from""#]),
        ("traffic_bytes_total", [r#"verdict="denied""#, r#"direction="either""#]),
        ("updates_total", [r#"outcome="created""#, ""]),
        ("update_duration_seconds_count", ["", ""]),
        ("sandboxes", [r#"state="active""#, ""]),
        ("deny_events_total", [r#"outcome="sent""#, ""]),
        ("api_requests_total", [r#"route="/v1/apply""#, r#"status="200""#]),
        ("build_info", ["version=", "abi="]),
    ] {
        ensure!(sum(&first, name, &labels) > 0.0, "{name} {labels:?}: {first:?}");
    }
    ensure!(!first.keys().any(|sample| sample.contains("sandbox=")), "{first:?}");

    // What ended sandboxes had stays, whichever way they end, and who comes in their place adds to it.
    ensure!(stage.daemon.refuses("version: 1\nid: c\nattach: { interface: none }\naddresses: any\n")?.exit == 1);
    stage.daemon.detach("a")?;
    stage.world.host().ip("link del veth-b")?;
    let detached = || stage.daemon.status("b").is_ok_and(|status| status.state == filter_ctl::api::State::Detached);
    ensure!(wait_until(SOON, detached));
    let second = scrape(&stage)?;
    let not_less = |sample: &String, before: f64| {
        !sample.split('{').next().is_some_and(|name| name.ends_with("_total")) || second.get(sample) >= Some(&before)
    };
    for (sample, before) in &first {
        ensure!(not_less(sample, *before), "{sample}: {before}, then {:?}", second.get(sample));
    }
    ensure!(sum(&second, "decisions_total", &[DENIED]) >= counted as f64);
    ensure!(sum(&second, "sandboxes", &["detached"]) == 1.0 && sum(&second, "updates_total", &["refused"]) == 1.0);
    ensure!(sum(&second, "reconciliations_total", &[r#"what="detached""#]) == 1.0);
    stage.apply(&stage.a, DENY)?;
    ensure!(!udp(WEB_NEIGHBOUR).gets_through(&stage.a, false)?);
    let third = scrape(&stage)?;
    ensure!(sum(&third, "decisions_total", &[DENIED]) > sum(&second, "decisions_total", &[DENIED]));
    Ok(())
}

#[test]
fn decisions_are_told_sandbox_by_sandbox_where_the_operator_wants_that() -> Result<()> {
    let stage = Stage::with("each", &Setup { config: "metrics: { perSandbox: true }\n", ..Setup::default() })?;
    let b = stage.world.sandbox("b")?;
    stage.apply(&stage.a, DENY)?;
    stage.apply(&b, DENY)?;
    ensure!(!udp(WEB).gets_through(&b, false)?);
    let before = scrape(&stage)?;
    let of_b = stage.counted(&b, Reason::AddressDenied)? as f64;
    ensure!(sum(&before, "decisions_total", &[DENIED, r#"sandbox="b""#]) == of_b, "{before:?}");
    ensure!(sum(&before, "decisions_total", &[DENIED, r#"sandbox="a""#]) == 0.0, "{before:?}");
    stage.daemon.detach("b")?;
    let after = scrape(&stage)?;
    ensure!(sum(&after, "decisions_total", &[r#"sandbox="b""#]) == 0.0, "{after:?}");
    ensure!(sum(&after, "decisions_total", &[DENIED]) >= of_b, "{after:?}");
    // What was denied to those that have ended is not kept.
    stage.daemon.detach("a")?;
    let last = scrape(&stage)?;
    ensure!(before["kept_denials_bytes"] > 0.0 && last["kept_denials_bytes"] == 0.0, "{before:?} {last:?}");
    Ok(())
}

#[test]
fn only_get_is_answered_and_few_at_a_time() -> Result<()> {
    let stage = Stage::with("asked", &Setup { config: CONFIG, ..Setup::default() })?;
    for (options, path, status) in [
        (&["-X", "POST"] as &[&str], "/metrics", 405),
        (&["-I"], "/ready", 405),
        (&["-X", "DELETE", "-d", "x"], "/health", 405),
        (&[], "/", 404),
        (&[], "/health", 200),
        (&[], "/ready", 200),
    ] {
        ensure!(ask(&stage.world, options, path)?.0 == status, "{options:?} {path}");
    }
    // Silent connections take all places, and lose them.
    let silent = stage
        .world
        .host()
        .within(|| (0..40).map(|_| std::net::TcpStream::connect("127.0.0.1:9464")).collect::<Result<Vec<_>, _>>())??;
    ensure!(ask(&stage.world, &["--max-time", "9"], "/health")?.0 == 200);
    drop(silent);
    Ok(())
}

#[test]
fn ready_says_what_is_amiss() -> Result<()> {
    if !has_tcx() {
        return Ok(());
    }
    let resolver: IpAddr = RESOLVER.parse()?;
    let config = format!("{CONFIG}resolvers: [\"{RESOLVER}\"]\nhook: tcx\n");
    let setup = Setup { resolvers: &[resolver], config: &config, ..Setup::default() };
    let mut stage = Stage::with("ready", &setup)?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test"]"#)?;
    ensure!(ready(&stage)? == (200, r#"{"ready":true,"why":[]}"#.to_owned()), "{:?}", ready(&stage)?);
    let says = |stage: &Stage, what: &str| {
        wait_until(SOON, || ready(stage).is_ok_and(|(status, text)| status == 503 && text.contains(what)))
    };
    let well = |stage: &Stage| wait_until(SOON, || ready(stage).is_ok_and(|(status, _)| status == 200));

    // A link that cannot be put back: something else has its place.
    let link = stage.daemon.links()?.into_iter().find(|link| link.contains("from_sandbox")).context("no link")?;
    fs::remove_file(&link)?;
    fs::create_dir(&link)?;
    ensure!(says(&stage, "\"attachment\"") && says(&stage, "a: "), "{:?}", ready(&stage)?);
    fs::remove_dir(&link)?;
    ensure!(well(&stage), "{:?}", ready(&stage)?);
    ensure!(Path::new(&link).exists(), "it is put back");

    // No sidecar can be started.
    let lives = scrape(&stage)?;
    ensure!(lives["sidecar_up"] == 1.0 && lives["sidecar_sandboxes"] == 1.0, "{lives:?}");
    stage.daemon.stop()?;
    let ctl = std::env::current_exe()?.ancestors().nth(2).context("a target directory")?.join("filter-ctl");
    let program = stage.world.dir().join("filter-ctl");
    fs::copy(&ctl, &program)?;
    let alone =
        Daemon::prepare(&stage.world, "alone", &config)?.with_state_of(&stage.daemon).with_pins_of(&stage.daemon);
    let mut alone = alone.with_program(&program, "NONE", &program);
    alone.begin()?;
    ensure!(says(&stage, "\"sidecar\""), "{:?}", ready(&stage)?);
    ensure!(scrape(&stage)?["sidecar_up"] == 0.0);
    ensure!(ask(&stage.world, &[], "/health")?.0 == 200);
    Ok(())
}
