//! What hands connections over: the rule and the route for the mark, the sidecar with its listeners, what binds it, and the bridge's program.

use crate::scene::{detach, errors, remove};
use crate::times::{LIMIT, note};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::PathBuf;
use std::time::Instant;
use test_scenarios::{NOWHERE, NOWHERE6, SOON, Stage, get_named};
use test_world::internet::{WEB, WEB6};
use test_world::{Live, wait_until};

const NAMES: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test"]"#;

fn is_served(stage: &Stage) -> bool {
    [NOWHERE, NOWHERE6].iter().all(|at| get_named(&stage.a, "http", "example.test", *at).is_ok_and(|got| got.0 == 0))
}

/// Tears something down under downloads by name, whose packets nobody but the sidecar may have.
fn tear(
    stage: &Stage,
    what: &str,
    told: &str,
    act: impl Fn() -> Result<()>,
    is_mended: impl Fn() -> bool,
) -> Result<()> {
    let (mut wire, logged) = (stage.world.host().sniff("up0")?, errors(stage, told));
    let downloads = [NOWHERE, NOWHERE6].map(|at| {
        let at = if at.is_ipv6() { format!("[{at}]") } else { at.to_string() };
        let resolve = format!("example.test:80:{at}");
        stage.a.download_with(&["--resolve", &resolve, "--limit-rate", "2M"], "http://example.test/big")
    });
    let downloads = downloads.into_iter().collect::<Result<Vec<_>>>()?;
    for download in &downloads {
        ensure!(download.grows(SOON), "{what}: no download");
    }
    let began = Instant::now();
    act()?;
    let mended = wait_until(LIMIT, &is_mended);
    let took = began.elapsed();
    ensure!(wait_until(SOON, || is_served(stage)), "{what}: nobody is served");
    let left = wire.count_to(NOWHERE)? + wire.count_to(NOWHERE6)?;
    note(what, took, left);
    ensure!(mended, "{what}: {}", stage.daemon.log());
    ensure!(left == 0, "{what}: {left} packets left");
    ensure!(wait_until(SOON, || errors(stage, told) > logged), "{what}: not told: {}", stage.daemon.log());
    Ok(())
}

fn stage(name: &str) -> Result<(Stage, test_world::Dnsmasq)> {
    let stage = Stage::with_names(name)?;
    let resolver = stage.resolver(&[("example.test", WEB.into()), ("example.test", WEB6.into())])?;
    stage.apply(&stage.a, NAMES)?;
    ensure!(is_served(&stage));
    Ok((stage, resolver))
}

#[test]
fn rules_and_routes() -> Result<()> {
    let (stage, _resolver) = stage("tornroutes")?;
    let host = stage.world.host();
    for (what, act, shows, has) in [
        ("rule of IPv4 deleted", "rule del pref 32", "rule", "0x60/0xf0"),
        ("rule of IPv6 deleted", "-6 rule del pref 32", "-6 rule", "0x60/0xf0"),
        ("routes of IPv4 flushed", "route flush table 21318", "route show table 21318", "local"),
        ("routes of IPv6 flushed", "-6 route flush table 21318", "-6 route show table 21318", "local"),
    ] {
        let is_there = || host.ip(shows).is_ok_and(|shown| shown.stdout.contains(has));
        tear(&stage, what, "routing rule or a route", || host.ip(act).map(drop), is_there)?;
    }
    Ok(())
}

#[test]
fn the_sidecar_with_its_listeners() -> Result<()> {
    let (stage, _resolver) = stage("tornsidecar")?;
    let daemon = stage.daemon.pid().context("no daemon")?.to_string();
    for signal in ["KILL", "STOP"] {
        let act = || stage.world.host().run(&["pkill", &format!("-{signal}"), "-P", &daemon])?.ok().map(drop);
        tear(&stage, &format!("sidecar, SIG{signal}"), "sidecar", act, || is_served(&stage))?;
    }
    Ok(())
}

#[test]
fn what_binds_the_sidecar() -> Result<()> {
    let (stage, _resolver) = stage("tornguard")?;
    let links = stage.daemon.pins().join("links");
    let pins: Vec<PathBuf> = ["own_socket", "connect4", "connect6", "sendmsg4", "sendmsg6"]
        .map(|hook| links.join(format!("dials-{hook}")))
        .into();
    let inodes = || {
        pins.iter()
            .map(|pin| fs::metadata(pin).ok().map(|found| std::os::unix::fs::MetadataExt::ino(&found)))
            .collect::<Vec<_>>()
    };
    let before = inodes();
    let is_new =
        |before: &[Option<u64>]| inodes().iter().zip(before).all(|(now, before)| now.is_some() && now != before);
    tear(&stage, "pins of the sidecar's cgroup removed", "binds the sidecar", || remove(&pins), || is_new(&before))?;
    let before = inodes();
    tear(
        &stage,
        "links of the sidecar's cgroup detached",
        "binds the sidecar",
        || detach(&stage, &pins),
        || is_new(&before),
    )
}
