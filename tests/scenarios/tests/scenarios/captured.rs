//! Connections that come to the sidecar though the lists allow them, because the policy has rules; and what one sandbox may have there.

use crate::tls::{ATTACKERS, Ending, Seen, Table, connect, expect, talk};
use anyhow::{Context, Result, ensure};
use filter_core::Reason::{AllowedByList, HandedOver};
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;
use test_scenarios::{SOON, Setup, Stage};
use test_world::internet::{GOOGLE, WEB, WEB_NEIGHBOUR, WEB6_NEIGHBOUR};
use test_world::{ClientHello, Recorder, wait_until};

/// Where the sandbox believes that every name is.
const THERE: [IpAddr; 2] = [IpAddr::V4(WEB_NEIGHBOUR), IpAddr::V6(WEB6_NEIGHBOUR)];

fn get(stage: &Stage, url: &str, name: &str, at: IpAddr) -> Result<(i32, String)> {
    let at = if at.is_ipv6() { format!("[{at}]") } else { at.to_string() };
    let resolve: Vec<String> = [80, 443].iter().map(|port| format!("{name}:{port}:{at}")).collect();
    let out =
        stage.a.run(&["curl", "-skg", "--max-time", "8", "--resolve", &resolve[0], "--resolve", &resolve[1], url])?;
    Ok((out.code().context("curl was killed")?, out.stdout))
}

#[test]
fn what_the_lists_allow_passes_rules_by_unless_a_rule_is_about_it() -> Result<()> {
    let config = format!("resolvers: [\"{GOOGLE}\"]\n");
    let stage = Stage::with("rules", &Setup { config: &config, resolvers: &[GOOGLE.into()], ..Setup::default() })?;
    let lists = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.20", "2001:db8:10::20", "a.example.test"]"#;
    let rules = r#"rules: {"*.ruled.test": [{transform: {headers: {A: b}}}]}"#;
    stage.apply(&stage.a, &format!("{lists}, {rules}"))?;
    for at in THERE {
        let there = at.to_string();
        for scheme in ["http", "https"] {
            let get = |name: &str| get(&stage, &format!("{scheme}://{name}/"), name, at);
            ensure!(get("a.example.test")? == (0, format!("{WEB}\n")), "by name");
            for other in ["b.example.test", "example.org"] {
                let (code, body) = get(other)?;
                ensure!(code == 0 && body.trim() == there, "{other} at {at}: {code} {body:?}");
            }
            let (code, body) = get("x.ruled.test")?;
            let refused = if scheme == "https" { code == 35 } else { body.contains("\"not-enforced\"") };
            ensure!(refused, "{scheme}: {code} {body:?}");
        }
        let url = if at.is_ipv6() { format!("http://[{at}]/") } else { format!("http://{at}/") };
        let (code, body) = get(&stage, &url, "unused.test", at)?;
        ensure!(code == 0 && body.trim() == there, "without a name: {code} {body:?}");
    }
    ensure!(stage.counted(&stage.a, HandedOver)? > 0 && stage.counted(&stage.a, AllowedByList)? == 0, "not captured");
    // Elsewhere names alone count.
    let (code, body) = get(&stage, "http://example.org/", "example.org", "203.0.113.99".parse()?)?;
    ensure!(code == 0 && body.contains("\"name-denied\""), "{code} {body:?}");
    for (question, allowed) in [
        ("https://x.ruled.test/", false),
        ("https://a.example.test/", true),
        ("https://203.0.113.20/", true),
        ("https://203.0.113.99/", false),
    ] {
        ensure!(stage.daemon.explain("a", question)?.allowed == allowed, "explain of {question}");
    }
    Ok(())
}

#[test]
fn behind_a_proxy_that_is_not_there_yet_nothing_passes() -> Result<()> {
    let config = format!("resolvers: [\"{GOOGLE}\"]\n");
    let stage = Stage::with("proxied", &Setup { config: &config, resolvers: &[GOOGLE.into()], ..Setup::default() })?;
    let lists = r#"denyOut: ["0.0.0.0/0"], allowOut: ["203.0.113.20", "a.example.test"]"#;
    stage.apply(&stage.a, &format!(r#"{lists}, egressProxy: {{address: "203.0.113.10:1080"}}"#))?;
    let mut wire = stage.world.host().sniff("up0")?;
    for name in ["a.example.test", "b.example.test"] {
        let (code, body) = get(&stage, &format!("http://{name}/"), name, THERE[0])?;
        ensure!(code == 0 && body.contains("\"not-enforced\""), "{name}: {code} {body:?}");
        ensure!(get(&stage, &format!("https://{name}/"), name, THERE[0])?.0 == 35, "{name}");
    }
    let other = stage.a.run(&["curl", "-s", "--max-time", "8", "http://203.0.113.20:9000/"])?;
    ensure!(matches!(other.code(), Some(52 | 56)), "{other:?}");
    ensure!(wire.count_to(THERE[0])? == 0, "something left");
    ensure!(!stage.daemon.explain("a", "tcp:203.0.113.20:9000")?.allowed);
    Ok(())
}

#[test]
fn a_sandbox_at_its_limit_is_refused_and_goes_on_when_there_is_room_again() -> Result<()> {
    let table = Table::with("sockets", ", sockets: 4")?;
    let hello = ClientHello::named("four.test").wire();
    let carried = || -> Result<_> {
        let mut stream = connect(&table.stage, ATTACKERS[0])?;
        stream.write_all(&hello)?;
        expect(&mut stream, Recorder::HEARD)?;
        Ok(stream)
    };
    let (first, mut second) = (carried()?, carried()?);
    let said = [hello.clone()];
    let refused = || {
        let seen = talk(&table.stage, ATTACKERS[1], &said, Duration::ZERO, Ending::Ends);
        seen.is_ok_and(|seen| seen == Seen::Reset || seen == Seen::Other(Vec::new()))
    };
    ensure!(wait_until(SOON, refused), "one more is served");
    ensure!(wait_until(SOON, || table.told("connection-limit", "") > 0), "{}", table.watch.stdout());
    second.write_all(b"still here")?;
    let heard = || table.recorder.heard().iter().any(|heard| heard.bytes.ends_with(b"still here"));
    ensure!(wait_until(SOON, heard), "what was carried is not any more");
    drop(first);
    ensure!(wait_until(SOON, || carried().is_ok()), "there is no room again");
    let counted = table.stage.daemon.status("a")?.counters.reasons.get("connection-limit").copied();
    ensure!(counted > Some(0), "not counted");
    Ok(())
}
