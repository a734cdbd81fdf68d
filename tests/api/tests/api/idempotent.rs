//! Create calls that are sent again.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::thread;
use test_api::{Open, Reply, Request};
use test_scenarios::http;
use test_world::internet::WEB;

const CALLS: usize = 8;

fn create(open: &Open, key: &str, call: &str, body: &Value) -> Result<Reply> {
    open.send(&Request::new("POST", "/v2/sandboxes").key(key).header("Idempotency-Key", call).json(body))
}

fn ids(open: &Open) -> Result<Vec<String>> {
    let all = open.send(&Request::new("GET", "/v2/sandboxes").key(&open.operator))?.json()?;
    let ids = all.as_array().context("no list")?.iter().filter_map(|one| one["sandboxID"].as_str());
    Ok(ids.map(str::to_owned).collect())
}

#[test]
fn a_call_that_comes_again_gets_the_sandbox_that_it_has_created() -> Result<()> {
    let mut open = Open::providing("apiagain")?;
    let body = json!({ "templateID": "base", "timeout": 600, "network": { "allowPublicTraffic": false } });
    // All at once: one is under way, the others wait for it.
    let replies: Vec<Reply> = thread::scope(|scope| {
        let calls: Vec<_> = (0..CALLS).map(|_| scope.spawn(|| create(&open, &open.key, "call-1", &body))).collect();
        calls.into_iter().map(|call| call.join().expect("no panic in a call")).collect::<Result<_>>()
    })?;
    let first = replies[0].json()?;
    for reply in &replies {
        ensure!(reply.status == 201 && reply.json()? == first, "{reply:?} and {first}");
    }
    let id = first["sandboxID"].as_str().context("no id")?.to_owned();
    ensure!(ids(&open)? == [id.clone()], "{:?}", ids(&open)?);

    // Neither an update nor another daemon changes what it is answered; the order of fields is none of its content.
    ensure!(open.update(&open.key, &id, &json!({ "denyOut": [WEB.to_string()] }))?.status == 204);
    open.stage.daemon.kill9()?;
    open.stage.daemon.begin()?;
    let turned = r#"{"network":{"allowPublicTraffic":false},"timeout":600,"templateID":"base"}"#;
    let request = Request::new("POST", "/v2/sandboxes").key(&open.key).header("Idempotency-Key", "call-1");
    let again = open.send(&request.text(turned))?;
    ensure!(again.status == 201 && again.json()? == first, "{again:?}");
    ensure!(http(WEB).is_rejected(&open.stage.world.adopt(&format!("sandbox-{id}"))?)?, "its update is undone");

    // Another body is another request, and another owner has calls of his own.
    let other = create(&open, &open.key, "call-1", &json!({ "templateID": "base", "timeout": 601 }))?;
    ensure!(other.status == 409 && other.message()?.contains("Idempotency-Key"), "{other:?}");
    let elsewhere = create(&open, &open.another_key("others")?, "call-1", &body)?;
    ensure!(elsewhere.status == 201 && elsewhere.json()?["sandboxID"] != id.as_str(), "{elsewhere:?}");
    ensure!(ids(&open)?.len() == 2);

    // It counts as long as the sandbox lives.
    ensure!(open.send(&Request::new("DELETE", format!("/sandboxes/{id}")).key(&open.key))?.status == 204);
    let next = create(&open, &open.key, "call-1", &body)?;
    ensure!(next.status == 201 && next.json()?["sandboxID"] != id.as_str(), "{next:?}");
    Ok(())
}

#[test]
fn a_call_that_failed_is_tried_again() -> Result<()> {
    let open = Open::with("apiretry", "provider: { netns: { pool: [203.0.114.0/31], uplink: up0 } }\n")?;
    let body = json!({ "templateID": "base" });
    let taken = create(&open, &open.key, "one", &body)?;
    ensure!(taken.status == 201, "{taken:?}");
    let full = create(&open, &open.key, "two", &body)?;
    ensure!(full.status == 503, "{full:?}");
    let id = taken.json()?["sandboxID"].as_str().context("no id")?.to_owned();
    ensure!(open.send(&Request::new("DELETE", format!("/sandboxes/{id}")).key(&open.key))?.status == 204);
    ensure!(create(&open, &open.key, "two", &body)?.status == 201);
    // Where the operator says where, too: the second one would be in its own way.
    let place = test_api::at(&open.stage.a, &json!({}));
    let replies = [create(&open, &open.operator, "a", &place)?, create(&open, &open.operator, "a", &place)?];
    ensure!(replies[0].status == 201 && replies[1].body == replies[0].body, "{replies:?}");
    ensure!(create(&open, &open.operator, "b", &place)?.status == 409);
    Ok(())
}

#[test]
fn a_key_that_is_none_is_refused() -> Result<()> {
    let open = Open::with("apibadkey", "")?;
    let long = "a".repeat(256);
    for bad in ["", "A", "a b", "a_b", "\u{e4}", long.as_str()] {
        let reply = create(&open, &open.key, bad, &json!({ "templateID": "base" }))?;
        ensure!(reply.status == 400 && reply.message()?.contains("Idempotency-Key"), "{bad:?}: {reply:?}");
    }
    let twice = Request::new("POST", "/v2/sandboxes").key(&open.key).json(&json!({ "templateID": "base" }));
    let reply = open.send(&twice.header("Idempotency-Key", "a").header("Idempotency-Key", "a"))?;
    ensure!(reply.status == 400, "{reply:?}");
    // The longest passes this check: without a provider it comes to nothing.
    let reply = create(&open, &open.key, &long[..255], &json!({ "templateID": "base" }))?;
    ensure!(reply.status == 503, "{reply:?}");
    Ok(())
}
