//! Sandboxes that the provider makes: from the create call to the end of their time.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use test_api::{EXAMPLE, Open, Request};
use test_scenarios::{NOWHERE, SOON, get_named, http};
use test_world::internet::{WEB, WEB_ELSEWHERE, WEB6};
use test_world::wait_until;

/// What of the provider's is on the host.
pub(crate) fn remains(open: &Open, id: &str) -> Result<Vec<String>> {
    let host = open.stage.world.host();
    let links = host.ip("-oneline link show")?.stdout;
    let mut found: Vec<String> = links.lines().filter(|line| line.contains(": sf")).map(str::to_owned).collect();
    for path in [format!("/run/netns/sandbox-{id}"), format!("/etc/netns/sandbox-{id}")] {
        found.extend(Path::new(&path).exists().then_some(path));
    }
    Ok(found)
}

#[test]
fn a_sandbox_is_made_filtered_and_taken_away() -> Result<()> {
    let open = Open::providing("apimade")?;
    let made = open.create(
        &open.key,
        &json!({ "templateID": "base", "metadata": { "who": "me" }, "network": { "denyOut": [WEB_ELSEWHERE.to_string()] } }),
    )?;
    let (id, inside) = (&made.id, &made.node);
    for (field, expected) in [("templateID", "base"), ("domain", "sandbox.test"), ("envdVersion", "0.2.0")] {
        ensure!(made.made[field] == expected, "{field}: {}", made.made);
    }
    ensure!(made.made["envdAccessToken"].is_string() && made.made["trafficAccessToken"].is_null(), "{}", made.made);
    ensure!(http(WEB).gets_through(inside, true)? && http(WEB6).gets_through(inside, true)?);
    ensure!(http(WEB_ELSEWHERE).is_rejected(inside)?);

    let names = json!({ "allowOut": ["example.test"], "denyOut": ["0.0.0.0/0"] });
    ensure!(open.update(&open.key, id, &names)?.status == 204);
    ensure!(get_named(inside, "https", "example.test", NOWHERE)? == (0, format!("{EXAMPLE}\n")));
    ensure!(get_named(inside, "https", "other.test", NOWHERE)?.0 != 0 && !http(WEB).gets_through(inside, false)?);

    let info = open.info(&open.key, id)?;
    ensure!(info["metadata"] == json!({ "who": "me" }) && info["network"]["allowOut"] == names["allowOut"], "{info}");
    let delete = Request::new("DELETE", format!("/sandboxes/{id}")).key(&open.key);
    ensure!(open.send(&delete)?.status == 204);
    ensure!(remains(&open, id)?.is_empty(), "{:?}", remains(&open, id)?);
    ensure!(open.send(&delete)?.status == 404 && open.stage.daemon.list()?.is_empty());
    ensure!(open.stage.world.host().run(&["nft", "list", "ruleset"])?.ok()?.stdout.is_empty(), "a table is left");
    Ok(())
}

#[test]
fn a_sandbox_ends_at_its_time_and_not_before() -> Result<()> {
    let open = Open::providing("apitime")?;
    let short = open.create(&open.key, &json!({ "templateID": "base", "timeout": 2 }))?;
    let long = open.create(&open.key, &json!({ "templateID": "base", "timeout": 2 }))?;
    let timeout = |id: &str, seconds: u32| {
        let path = format!("/sandboxes/{id}/timeout");
        open.send(&Request::new("POST", path).key(&open.key).json(&json!({ "timeout": seconds })))
    };
    ensure!(timeout(&long.id, 600)?.status == 204);
    let is_there = |id: &str| open.info(&open.key, id).is_ok();
    ensure!(wait_until(SOON, || !is_there(&short.id)), "it lives on");
    ensure!(wait_until(SOON, || remains(&open, &short.id).is_ok_and(|left| left.len() == 1)), "something is left");
    ensure!(is_there(&long.id) && http(WEB).gets_through(&long.node, true)?);
    // Who connects extends it, and never shortens it.
    let connect = Request::new("POST", format!("/v2/sandboxes/{}/connect", long.id)).key(&open.key);
    let before = open.info(&open.key, &long.id)?["endAt"].clone();
    let reply = open.send(&connect.json(&json!({ "timeout": 1 })))?;
    ensure!(reply.status == 200 && reply.json()?["sandboxID"] == long.id.as_str(), "{reply:?}");
    ensure!(open.info(&open.key, &long.id)?["endAt"] == before);
    ensure!(timeout(&long.id, 0)?.status == 204);
    ensure!(wait_until(SOON, || !is_there(&long.id)), "it lives on");
    Ok(())
}

#[test]
fn a_timeout_is_nothing_to_what_somebody_else_has_made_unless_asked_for() -> Result<()> {
    let open = Open::providing("apiseal")?;
    let b = open.stage.world.sandbox("b")?;
    let create = |sandbox, ends: bool| -> Result<()> {
        let mut body = test_api::at(sandbox, &json!({}));
        body["timeout"] = json!(1);
        body["endOnTimeout"] = json!(ends);
        let reply = open.send(&Request::new("POST", "/v2/sandboxes").key(&open.operator).json(&body))?;
        ensure!(reply.status == 201, "{reply:?}");
        Ok(())
    };
    create(&open.stage.a, false)?;
    create(&b, true)?;
    ensure!(wait_until(SOON, || open.info(&open.operator, "b").is_err()), "b lives on");
    ensure!(!http(WEB).gets_through(&b, false)?, "b is open after its end");
    ensure!(http(WEB).gets_through(&open.stage.a, true)?);
    open.stage.daemon.detach("b")?;
    ensure!(http(WEB).gets_through(&b, true)?);
    Ok(())
}

#[test]
fn a_pool_without_addresses_left_is_told_and_one_that_is_given_back_serves_again() -> Result<()> {
    let open = Open::with("apipool", "provider: { netns: { pool: [203.0.114.0/30], uplink: up0 } }\n")?;
    let body = json!({ "templateID": "base" });
    let first = open.create(&open.key, &body)?;
    let second = open.create(&open.key, &body)?;
    let reply = open.send(&Request::new("POST", "/v2/sandboxes").key(&open.key).json(&body))?;
    ensure!(
        reply.status == 503 && reply.message()?.starts_with("no addresses left in pool 203.0.114.0/30"),
        "{reply:?}"
    );
    // Sandboxes do not reach each other.
    let to = second.node.addresses()?.into_iter().find(|address| !address.is_loopback() && address.is_ipv4());
    ensure!(!test_scenarios::ping(to.context("no address")?).gets_through(&first.node, false)?);
    ensure!(open.send(&Request::new("DELETE", format!("/sandboxes/{}", first.id)).key(&open.key))?.status == 204);
    let third = open.create(&open.key, &body)?;
    ensure!(http(WEB).gets_through(&third.node, true)?);
    let reply = open.send(&Request::new("POST", "/v2/sandboxes").key(&open.key).json(&json!({ "templateID": "x" })))?;
    ensure!(reply.status == 404 && reply.message()? == "template \"x\" doesn't exist", "{reply:?}");
    Ok(())
}

#[test]
fn the_command_line_works_on_them_as_on_others() -> Result<()> {
    let open = Open::providing("apictl")?;
    let made = open.create(&open.key, &json!({ "templateID": "base" }))?;
    let daemon = &open.stage.daemon;
    ensure!(daemon.status(&made.id)?.generation == 1);
    daemon.refused(&["detach", &made.id])?.says(&["made by the provider", "filter-ctl delete"]);
    let mut document: Value = serde_json::to_value(daemon.status(&made.id)?.document)?;
    document["network"]["denyOut"] = json!([WEB.to_string()]);
    daemon.apply(&document.to_string())?;
    ensure!(http(WEB).is_rejected(&made.node)?);
    ensure!(open.info(&open.key, &made.id)?["network"]["denyOut"] == json!([WEB.to_string()]));
    daemon.delete(&made.id)?;
    ensure!(remains(&open, &made.id)?.is_empty() && open.info(&open.key, &made.id).is_err());
    Ok(())
}

#[test]
fn lists_are_filtered_and_come_in_pages() -> Result<()> {
    let open = Open::providing("apilist")?;
    let mut ids = Vec::new();
    for at in 0..5 {
        let body = json!({ "templateID": "base", "metadata": { "n": (at % 2).to_string(), "a b": "c&d" } });
        ids.push(open.create(&open.key, &body)?.id);
    }
    let list = |query: &str| -> Result<(Vec<String>, Option<String>)> {
        let reply = open.send(&Request::new("GET", format!("/v2/sandboxes?{query}")).key(&open.key))?;
        ensure!(reply.status == 200, "{query}: {reply:?}");
        let all = reply.json()?;
        let ids = all.as_array().context("no list")?.iter().filter_map(|one| one["sandboxID"].as_str());
        Ok((ids.map(str::to_owned).collect(), reply.headers.get("x-next-token").cloned()))
    };
    ensure!(list("")?.0.len() == 5 && list("")?.1.is_none());
    ensure!(list("metadata=n%3D0")?.0.len() == 3 && list("metadata=n%3D7")?.0.is_empty());
    ensure!(list("metadata=a%2520b%3Dc%2526d%26n%3D1")?.0.len() == 2);
    ensure!(list("state=paused")?.0.is_empty() && list("state=running,paused&template=base")?.0.len() == 5);
    ensure!(list("startedAfter=2999-01-01T00:00:00Z")?.0.is_empty());
    for order in ["asc", "desc"] {
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let (page, next) = list(&format!("limit=2&order={order}{token}"))?;
            ensure!(page.len() <= 2);
            seen.extend(page);
            let Some(next) = next else { break };
            token = format!("&nextToken={next}");
        }
        ensure!(seen.len() == 5 && ids.iter().all(|id| seen.contains(id)), "{order}: {seen:?}");
    }
    for bad in ["limit=0", "limit=101", "limit=x", "state=asleep", "order=up", "nextToken=x", "startedAfter=now"] {
        let reply = open.send(&Request::new("GET", format!("/v2/sandboxes?{bad}")).key(&open.key))?;
        ensure!(reply.status == 400 && reply.message()?.starts_with("validation error: "), "{bad}: {reply:?}");
    }
    Ok(())
}

#[test]
fn sandboxes_outlive_the_daemon_and_nothing_half_made_does() -> Result<()> {
    let mut open = Open::providing("apideath")?;
    let made = open.create(&open.key, &json!({ "templateID": "base", "timeout": 600, "metadata": { "a": "b" } }))?;
    let private = json!({ "templateID": "base", "network": { "allowPublicTraffic": false } });
    let token = open.create(&open.key, &private)?.made["trafficAccessToken"].clone();
    ensure!(token.is_string());
    let before = open.info(&open.key, &made.id)?;
    open.stage.daemon.kill9()?;
    ensure!(http(WEB).gets_through(&made.node, true)?);
    open.stage.daemon.begin()?;
    ensure!(open.info(&open.key, &made.id)? == before, "{before}");
    ensure!(http(WEB).gets_through(&made.node, true)?);
    // Addresses that are taken are not given again.
    let other = open.create(&open.key, &json!({ "templateID": "base" }))?;
    ensure!(other.node.addresses()? != made.node.addresses()?);
    ensure!(open.send(&Request::new("DELETE", format!("/sandboxes/{}", made.id)).key(&open.key))?.status == 204);
    ensure!(!Path::new(&format!("/run/netns/sandbox-{}", made.id)).exists());
    ensure!(wait_until(Duration::from_secs(2), || http(WEB).gets_through(&other.node, true).is_ok_and(|is| is)));
    Ok(())
}
