//! Somebody else tears down what the provider has made: made again or marked within a second, and what is left can be taken away.

use crate::provided::remains;
use anyhow::{Result, ensure};
use filter_ctl::api::State;
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};
use test_api::{Open, Provided, Request};
use test_scenarios::{SOON, http, udp};
use test_world::internet::{WEB, WEB_ELSEWHERE, WEB6};
use test_world::wait_until;

/// How soon things must be as they were, on a machine that does others as well; what it was is printed.
const LIMIT: Duration = Duration::from_secs(3);

fn made(open: &Open) -> Result<Provided> {
    let body = json!({ "templateID": "base", "network": { "denyOut": [WEB_ELSEWHERE.to_string()] } });
    let made = open.create(&open.key, &body)?;
    ensure!(http(WEB).gets_through(&made.node, true)? && http(WEB_ELSEWHERE).is_rejected(&made.node)?);
    Ok(made)
}

fn within(open: &Open, what: &str, act: impl Fn() -> Result<()>, is_mended: impl Fn() -> bool) -> Result<()> {
    let began = Instant::now();
    act()?;
    ensure!(wait_until(LIMIT, is_mended), "{what}: {}", open.stage.daemon.log());
    println!("{what:<48} {:>8.1} ms", began.elapsed().as_secs_f64() * 1_000.0);
    Ok(())
}

fn errors(open: &Open, told: &str) -> usize {
    open.stage.daemon.log().lines().filter(|line| line.contains("ERROR") && line.contains(told)).count()
}

#[test]
fn a_namespace_or_a_device_that_somebody_deletes_is_marked_and_taken_away() -> Result<()> {
    let open = Open::providing("apitorn")?;
    for what in ["namespace deleted", "device deleted"] {
        let (made, other) = (made(&open)?, made(&open)?);
        let device = open.stage.daemon.status(&made.id)?.device;
        let act = || {
            let host = open.stage.world.host();
            match what {
                "namespace deleted" => host.run(&["ip", "netns", "del", made.node.name()])?.ok().map(drop),
                _ => host.ip(&format!("link del {device}")).map(drop),
            }
        };
        let is_marked = || open.stage.daemon.status(&made.id).is_ok_and(|status| status.state == State::Detached);
        let mut wire = open.stage.world.host().sniff("up0")?;
        within(&open, what, act, is_marked)?;
        ensure!(http(WEB).gets_through(&other.node, true)? && http(WEB_ELSEWHERE).is_rejected(&other.node)?);
        ensure!(wire.count(|frame| udp(WEB_ELSEWHERE).is_in(frame) || http(WEB_ELSEWHERE).is_in(frame))? == 0);
        for id in [&made.id, &other.id] {
            ensure!(open.send(&Request::new("DELETE", format!("/sandboxes/{id}")).key(&open.key))?.status == 204);
            ensure!(open.info(&open.key, id).is_err());
        }
        ensure!(remains(&open, &made.id)?.is_empty(), "{what}: {:?}", remains(&open, &made.id)?);
        ensure!(open.stage.daemon.list()?.is_empty() && open.stage.daemon.links()?.is_empty(), "{what}");
        ensure!(open.stage.world.host().run(&["nft", "list", "ruleset"])?.ok()?.stdout.is_empty(), "a table is left");
    }
    Ok(())
}

#[test]
fn the_firewall_s_table_is_made_again() -> Result<()> {
    let open = Open::providing("apinft")?;
    let made = made(&open)?;
    let host = open.stage.world.host();
    let table = || host.run(&["nft", "--stateless", "--terse", "list", "ruleset"]).map(|shown| shown.stdout);
    let whole = table()?;
    ensure!(whole.contains("masquerade") && whole.contains("ct count"), "{whole}");
    for what in ["flush ruleset", "flush table inet sandbox-filter-netns", "delete table inet sandbox-filter-netns"] {
        let told = errors(&open, "the firewall's table");
        let act = || host.run(&[&["nft"], what.split(' ').collect::<Vec<_>>().as_slice()].concat())?.ok().map(drop);
        within(&open, &format!("nft {what}"), act, || table().is_ok_and(|now| now == whole))?;
        ensure!(http(WEB).gets_through(&made.node, true)? && http(WEB6).gets_through(&made.node, true)?, "{what}");
        ensure!(http(WEB_ELSEWHERE).is_rejected(&made.node)?);
        ensure!(wait_until(SOON, || errors(&open, "the firewall's table") > told), "{}", open.stage.daemon.log());
    }
    // Another's table is nobody's business, and no reason to make ours again.
    let told = errors(&open, "the firewall's table");
    host.run(&["nft", "add", "table", "inet", "another"])?.ok()?;
    fs::remove_file(format!("/etc/netns/{}/resolv.conf", made.node.name()))?;
    ensure!(wait_until(SOON, || errors(&open, "the nameservers") == 1), "{}", open.stage.daemon.log());
    ensure!(errors(&open, "the firewall's table") == told && table()?.contains("another"));
    Ok(())
}

#[test]
fn the_nameservers_are_written_again() -> Result<()> {
    let open = Open::providing("apidns")?;
    let made = made(&open)?;
    let (directory, file) = (format!("/etc/netns/{}", made.node.name()), "resolv.conf");
    let path = format!("{directory}/{file}");
    let before = fs::read_to_string(&path)?;
    let is_there = || fs::read_to_string(&path).is_ok_and(|now| now == before);
    within(&open, "resolv.conf removed", || Ok(fs::remove_file(&path)?), is_there)?;
    within(&open, "/etc/netns/NAME removed", || Ok(fs::remove_dir_all(&directory)?), is_there)?;
    ensure!(wait_until(SOON, || errors(&open, "the nameservers") == 2), "{}", open.stage.daemon.log());
    ensure!(open.send(&Request::new("DELETE", format!("/sandboxes/{}", made.id)).key(&open.key))?.status == 204);
    ensure!(remains(&open, &made.id)?.is_empty(), "{:?}", remains(&open, &made.id)?);
    Ok(())
}
