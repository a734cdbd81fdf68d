//! Connections that names may allow: handed to the sidecar, judged there, and dialled by name.

use anyhow::{Context, Result, ensure};
use filter_core::Reason::{HandedOver, SidecarUnavailable};
use std::net::IpAddr;
use test_scenarios::{SOON, Setup, Stage};
use test_world::internet::{GOOGLE, WEB};
use test_world::wait_until;

/// Where the sandbox believes that every name is; nobody is there.
const NOWHERE: &str = "203.0.113.99";
const NAMES: &str = r#"denyOut: ["0.0.0.0/0"], allowOut: ["example.test", "*.example.test"]"#;

fn stage(name: &str) -> Result<Stage> {
    let config = format!("resolvers: [\"{GOOGLE}\"]\n");
    Stage::with(name, &Setup { config: &config, resolvers: &[IpAddr::from(GOOGLE)], ..Setup::default() })
}

/// What curl gets for a URL of a name that the sandbox has from somebody else.
fn get(stage: &Stage, scheme: &str, name: &str) -> Result<(i32, String)> {
    let port = if scheme == "https" { 443 } else { 80 };
    let out = stage.a.run(&[
        "curl",
        "-sk",
        "--max-time",
        "8",
        "--resolve",
        &format!("{name}:{port}:{NOWHERE}"),
        &format!("{scheme}://{name}/"),
    ])?;
    Ok((out.code().context("curl was killed")?, out.stdout))
}

#[test]
fn an_allowed_name_is_dialled_wherever_the_sandbox_believes_it_to_be() -> Result<()> {
    let stage = stage("named")?;
    stage.apply(&stage.a, NAMES)?;
    for (scheme, name) in [("http", "example.test"), ("https", "example.test"), ("https", "a.b.example.test")] {
        let (code, body) = get(&stage, scheme, name)?;
        ensure!(code == 0 && body.trim() == WEB.to_string(), "{scheme}://{name}: {code} {body:?}");
    }
    ensure!(stage.counted(&stage.a, HandedOver)? > 0 && stage.counted(&stage.a, SidecarUnavailable)? == 0);
    Ok(())
}

#[test]
fn another_name_is_refused_and_told_why() -> Result<()> {
    let stage = stage("unnamed")?;
    stage.apply(&stage.a, NAMES)?;
    let mut wire = stage.world.host().sniff("up0")?;
    let (code, body) = get(&stage, "http", "example.org")?;
    ensure!(code == 0 && body.contains("\"egress_denied\"") && body.contains("\"example.org\""), "{code} {body:?}");
    let (code, _) = get(&stage, "https", "example.org")?;
    ensure!(code == 35, "no fatal alert: curl ended with {code}");
    ensure!(wire.count_to(NOWHERE.parse()?)? == 0, "something left");
    Ok(())
}

#[test]
fn without_the_sidecar_nothing_is_forwarded_and_a_new_one_takes_over() -> Result<()> {
    let stage = stage("killed")?;
    stage.apply(&stage.a, NAMES)?;
    ensure!(get(&stage, "http", "example.test")?.0 == 0);
    let mut wire = stage.world.host().sniff("up0")?;
    let daemon = stage.daemon.pid().context("no daemon")?.to_string();
    ensure!(stage.world.host().run(&["pkill", "-KILL", "-P", &daemon])?.code() == Some(0), "there is no sidecar");
    let again = wait_until(SOON, || get(&stage, "http", "example.test").is_ok_and(|(code, _)| code == 0));
    ensure!(again, "no new sidecar");
    ensure!(wire.count_to(NOWHERE.parse()?)? == 0, "something left");
    Ok(())
}

#[test]
fn a_name_leads_neither_to_the_host_nor_into_a_protected_range() -> Result<()> {
    const RESOLVER: &str = "203.0.113.53";
    // Not protected by its range, but the host's.
    const HOSTS: &str = "203.0.114.1";
    let config = format!("resolvers: [\"{RESOLVER}\"]\n");
    let stage = Stage::with("inward", &Setup { config: &config, ..Setup::default() })?;
    stage.world.host().ip(&format!("address add {HOSTS}/32 dev lo"))?;
    let _server = stage.world.host().nginx()?;
    let records =
        [("host.test", HOSTS.parse()?), ("metadata.test", "169.254.169.254".parse()?), ("web.test", WEB.into())];
    let _resolver = stage.world.internet().dnsmasq(&[RESOLVER.parse()?], &records)?;
    stage.apply(&stage.a, r#"denyOut: ["0.0.0.0/0"], allowOut: ["*"]"#)?;
    ensure!(get(&stage, "http", "web.test")? == (0, format!("{WEB}\n")));
    for name in ["host.test", "metadata.test"] {
        let (code, body) = get(&stage, "http", name)?;
        ensure!(code == 0 && body.contains("\"protected-name\""), "{name}: {code} {body:?}");
        ensure!(get(&stage, "https", name)?.0 == 35, "no fatal alert about {name}");
    }
    Ok(())
}

#[test]
fn the_rules_that_keep_packets_here_are_made_again_and_go_with_the_last_policy() -> Result<()> {
    let stage = stage("rules")?;
    let host = stage.world.host();
    let shown = |what: &str| -> Result<String> { Ok(host.run(&["sh", "-c", what])?.stdout) };
    let all = || -> Result<[String; 4]> {
        Ok([
            shown("ip rule | grep 0x60/0xf0")?,
            shown("ip -6 rule | grep 0x60/0xf0")?,
            shown("ip route show table 21318")?,
            shown("ip -6 route show table 21318")?,
        ])
    };
    stage.apply(&stage.a, NAMES)?;
    let made = all()?;
    ensure!(made.iter().all(|one| !one.is_empty()), "{made:?}");
    for line in ["rule del pref 32", "-6 rule del pref 32", "route flush table 21318", "-6 route flush table 21318"] {
        host.ip(line)?;
    }
    ensure!(wait_until(SOON, || all().is_ok_and(|now| now == made)), "not made again: {:?}", all()?);
    ensure!(get(&stage, "http", "example.test")?.0 == 0);
    stage.daemon.detach("a")?;
    let left = all()?;
    ensure!(left.iter().all(String::is_empty), "{left:?}");
    Ok(())
}
