//! What the daemon mends, marks or finds is told to whoever watches.

use crate::bridge::Bridge;
use crate::metrics::{scrape, sum};
use anyhow::{Context, Result, ensure};
use filter_ctl::api::{Line, Notice, NoticeKind, State};
use std::fs;
use std::net::IpAddr;
use test_scenarios::{SOON, Setup, Stage, http, kinds_of_hooks};
use test_world::internet::WEB;
use test_world::{Process, wait_until};

const RESOLVER: &str = "203.0.113.53";
const DENY: &str = r#"denyOut: ["0.0.0.0/0"]"#;
const NAMES: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test"]"#;

/// The notices so far.
fn notices(watch: &Process) -> Vec<Notice> {
    let text = watch.stdout();
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = complete.lines().map(|line| serde_json::from_str(line).expect("a line of the stream"));
    lines.filter_map(|line| if let Line::Notice(notice) = line { Some(notice) } else { None }).collect()
}

/// Does something again and again until the watcher has heard of it: what happened before it listened is not told.
fn told(watch: &Process, kind: NoticeKind, act: impl Fn() -> Result<()>) -> Result<Notice> {
    let mut failed = None;
    let heard = || notices(watch).into_iter().find(|notice| notice.notice == kind);
    wait_until(SOON, || {
        failed = act().err();
        wait_until(SOON / 5, || heard().is_some()) || failed.is_some()
    });
    failed.map_or(Ok(()), Err)?;
    heard().with_context(|| format!("{kind:?} is not told: {}", watch.stdout()))
}

#[test]
fn a_link_that_is_put_back_and_a_device_that_vanishes_are_told() -> Result<()> {
    for hook in kinds_of_hooks() {
        let kind = if *hook == "tcx" { NoticeKind::Link } else { NoticeKind::Filter };
        let stage = Stage::with("mended", &Setup { config: &format!("hook: {hook}\n"), ..Setup::default() })?;
        let b = stage.world.sandbox("b")?;
        stage.apply(&stage.a, DENY)?;
        stage.apply(&b, DENY)?;
        let (a, all) = (stage.daemon.ctl_start(&["watch", "a"])?, stage.daemon.ctl_start(&["watch"])?);
        let remove = || {
            let links = stage.daemon.links()?;
            let link = links.iter().find(|link| link.contains("from_sandbox")).context("no link")?;
            if *hook == "tcx" {
                return fs::remove_file(link).context("the link");
            }
            stage.world.host().run(&["tc", "filter", "del", "dev", "veth-a", "ingress"])?.ok().map(drop)
        };
        let back = told(&all, kind, remove)?;
        ensure!(back.id.is_some() && back.text.contains("it is back"), "{back:?}");
        ensure!(wait_until(SOON, || stage.daemon.links().is_ok_and(|links| links.len() == 4)), "not mended");

        stage.world.host().ip("link del veth-b")?;
        ensure!(wait_until(SOON, || notices(&all).iter().any(|notice| notice.notice == NoticeKind::Detached)));
        let gone = notices(&all).into_iter().find(|notice| notice.notice == NoticeKind::Detached).context("told")?;
        ensure!(gone.id.as_deref() == Some("b") && gone.text.contains("veth-b"), "{gone:?}");
        ensure!(stage.daemon.status("b")?.state == State::Detached);
        let shown = stage.daemon.ctl(&["get", "b"])?.stdout;
        ensure!(shown.contains("\"state\": \"detached\""), "{shown}");
        ensure!(notices(&a).iter().all(|notice| notice.id.as_deref() == Some("a")), "{}", a.stdout());
    }
    Ok(())
}

#[test]
fn rules_and_a_sidecar_that_are_replaced_are_told() -> Result<()> {
    let resolver: IpAddr = RESOLVER.parse()?;
    let config = format!("resolvers: [\"{RESOLVER}\"]\n");
    let setup = Setup { resolvers: &[resolver], config: &config, ..Setup::default() };
    let stage = Stage::with("replaced", &setup)?;
    stage.apply(&stage.a, NAMES)?;
    let watch = stage.daemon.ctl_start(&["watch"])?;
    let route = told(&watch, NoticeKind::Route, || stage.world.host().ip("route flush table 21318").map(drop))?;
    ensure!(route.id.is_none() && route.text.contains("it is back"), "{route:?}");
    let daemon = stage.daemon.pid().context("no daemon")?.to_string();
    let sidecar =
        told(&watch, NoticeKind::Sidecar, || stage.world.host().run(&["pkill", "-KILL", "-P", &daemon]).map(drop))?;
    ensure!(sidecar.text.contains("signal: 9"), "{sidecar:?}");
    Ok(())
}

#[test]
fn what_is_put_back_on_a_bridge_is_told() -> Result<()> {
    for hook in kinds_of_hooks() {
        let Bridge { stage, .. } = &Bridge::with("bridgetold", &format!("hook: {hook}\n"))?;
        // The program is on the bridge while the policy of a port has names.
        stage.daemon.apply(&format!(
            "version: 1\nid: port2\nattach: {{ interface: port2 }}\naddresses: [198.51.101.2, \"2001:db8:a0ff::2\"]\n\
             network: {{ {NAMES} }}\n"
        ))?;
        let links = stage.daemon.links()?;
        let pin = links.iter().find(|link| link.contains("/bridge-")).context("the bridge has no link")?;
        let filters = || stage.world.host().run(&["tc", "filter", "show", "dev", "br0", "ingress"])?.ok();
        let is_there = || match *hook {
            "tcx" => anyhow::Ok(fs::exists(pin)?),
            _ => Ok(filters()?.stdout.contains("from_bridge")),
        };
        ensure!(is_there()?, "{hook}: {links:?}");
        let watch = stage.daemon.ctl_start(&["watch"])?;
        let told = told(&watch, NoticeKind::Bridge, || {
            if *hook == "tcx" {
                return fs::remove_file(pin).context("the link");
            }
            stage.world.host().run(&["tc", "filter", "del", "dev", "br0", "ingress"])?.ok().map(drop)
        })?;
        ensure!(told.id.is_none() && told.text.contains("bridge br0; it is back"), "{told:?}");
        ensure!(wait_until(SOON, || is_there().unwrap_or(false)), "{hook}: told, and not there");
    }
    Ok(())
}

/// They are found before anybody can watch: the log tells of them, and they are counted.
#[test]
fn hooks_that_outlive_the_state_directory_are_told() -> Result<()> {
    for hook in kinds_of_hooks() {
        let config = format!("hook: {hook}\nmetrics: {{}}\n");
        let mut stage = Stage::with("lost", &Setup { config: &config, ..Setup::default() })?;
        let orphans = |stage: &Stage| anyhow::Ok(sum(&scrape(stage)?, "reconciliations_total", &["orphan"]));
        stage.apply(&stage.a, DENY)?;
        ensure!(orphans(&stage)? == 0.0, "before anything is lost");
        stage.daemon.stop()?;
        fs::remove_dir_all(stage.daemon.state_dir())?;
        stage.daemon.begin()?;
        ensure!(stage.daemon.list()?.is_empty() && orphans(&stage)? == 1.0, "{hook}: {:?}", scrape(&stage)?);
        let log = stage.daemon.log();
        ensure!(log.contains("hooks that no record knows") && log.contains("veth-a"), "{hook}: {log}");
        let findings = stage.daemon.ctl(&["doctor"])?.stdout;
        ensure!(findings.contains("hooks on veth-a"), "{hook}: {findings}");
        ensure!(!http(WEB).gets_through(&stage.a, false)?, "{hook}: they do not enforce any more");
    }
    Ok(())
}
