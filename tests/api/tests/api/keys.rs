//! Keys: who is let in, and who sees what.

use anyhow::{Result, ensure};
use serde_json::json;
use test_api::{Open, Request, at};
use test_scenarios::http;
use test_world::internet::{WEB, WEB_ELSEWHERE};

#[test]
fn a_sandbox_is_created_shown_changed_and_ended() -> Result<()> {
    let open = Open::with("apifirst", "")?;
    let a = &open.stage.a;
    let made = open.create_at(a, &json!({ "denyOut": [format!("{WEB_ELSEWHERE}/32")] }))?;
    ensure!(made["sandboxID"] == "a" && made["domain"] == "sandbox.test", "{made}");
    ensure!(http(WEB).gets_through(a, true)? && http(WEB_ELSEWHERE).is_rejected(a)?);
    let info = open.info(&open.operator, "a")?;
    ensure!(info["network"]["denyOut"] == json!([format!("{WEB_ELSEWHERE}/32")]), "{info}");
    ensure!(info["state"] == "running" && info["endAt"] == "9999-12-31T23:59:59Z", "{info}");

    let reply = open.update(&open.operator, "a", &json!({ "denyOut": [WEB.to_string()] }))?;
    ensure!(reply.status == 204 && reply.body.is_empty(), "{reply:?}");
    ensure!(http(WEB).is_rejected(a)? && http(WEB_ELSEWHERE).gets_through(a, true)?);

    let delete = Request::new("DELETE", "/sandboxes/a").key(&open.operator);
    ensure!(open.send(&delete)?.status == 204);
    ensure!(!http(WEB_ELSEWHERE).gets_through(a, false)?, "an ended sandbox sends");
    let again = open.send(&delete)?;
    ensure!(again.status == 404, "{again:?}");
    ensure!(again.message()? == "Sandbox \"a\" doesn't exist or you don't have access to it");
    Ok(())
}

#[test]
fn only_a_key_lets_in_and_only_while_it_holds() -> Result<()> {
    let open = Open::with("apikeys", "")?;
    let list = Request::new("GET", "/v2/sandboxes");
    for (request, why) in [
        (list.clone(), "no key"),
        (list.clone().key("e2b_0000000000000000000000000000000000000000"), "a key that nobody has"),
        (list.clone().key(""), "an empty key"),
        (Request::new("GET", "/sandboxes/NOT%20AN%20ID"), "no key, and the id is malformed"),
        (Request::new("PUT", "/sandboxes/a/network").text("{"), "no key, and the body is none"),
        (Request::new("GET", "/nowhere"), "no key, and there is no such path"),
    ] {
        let reply = open.send(&request)?;
        ensure!(reply.status == 401 && !reply.message()?.is_empty(), "{why}: {reply:?}");
    }
    ensure!(open.send(&list.clone().key(&open.key))?.status == 200);

    let keys: serde_json::Value = serde_json::from_str(&open.stage.daemon.ctl(&["key", "list"])?.ok()?.stdout)?;
    let team = keys.as_array().and_then(|all| all.iter().find(|key| key["name"] == "team").cloned());
    let team = team.unwrap_or_default();
    ensure!(team["key"].is_null(), "a key is told again: {team}");
    open.stage.daemon.ctl(&["key", "revoke", team["id"].as_str().unwrap_or_default()])?.ok()?;
    ensure!(open.send(&list.clone().key(&open.key))?.status == 401, "a revoked key lets in");
    ensure!(open.send(&list.key(&open.operator))?.status == 200, "another key is gone with it");
    let state = open.stage.daemon.state_dir().to_owned();
    let words = ["grep", "-r", "-q", open.operator.trim_start_matches("e2b_"), &state.display().to_string()];
    ensure!(open.stage.world.host().run(&words)?.code() == Some(1), "the key itself is on the disk");
    Ok(())
}

#[test]
fn a_key_sees_what_it_has_created_and_places_nothing() -> Result<()> {
    let open = Open::with("apiowners", "")?;
    let a = &open.stage.a;
    let place = Request::new("POST", "/v2/sandboxes").json(&at(a, &json!({})));
    let reply = open.send(&place.clone().key(&open.key))?;
    ensure!(reply.status == 403, "{reply:?}");
    ensure!(open.send(&place.key(&open.operator))?.status == 201);
    for request in [
        Request::new("GET", "/sandboxes/a"),
        Request::new("DELETE", "/sandboxes/a"),
        Request::new("PUT", "/sandboxes/a/network").json(&json!({})),
        Request::new("POST", "/sandboxes/a/timeout").json(&json!({ "timeout": 1 })),
        Request::new("POST", "/v2/sandboxes/a/connect").json(&json!({ "timeout": 1 })),
    ] {
        let reply = open.send(&request.clone().key(&open.key))?;
        ensure!(reply.status == 404, "{request:?}: {reply:?}");
        ensure!(reply.message()? == "Sandbox \"a\" doesn't exist or you don't have access to it");
    }
    let list = Request::new("GET", "/v2/sandboxes");
    ensure!(open.send(&list.clone().key(&open.key))?.json()? == json!([]));
    ensure!(open.send(&list.key(&open.operator))?.json()?[0]["sandboxID"] == "a");
    Ok(())
}

#[test]
fn whoever_can_open_the_local_socket_is_the_operator_and_needs_no_key() -> Result<()> {
    let open = Open::providing("apilocal")?;
    let socket = open.stage.daemon.socket().display().to_string();
    let ask = |words: &[&str], path: &str| {
        let all = [&["curl", "-s", "--unix-socket", &socket, "-w", " %{http_code}"], words, &[path]].concat();
        open.stage.world.host().run(&all).map(|out| out.stdout)
    };
    let body = at(&open.stage.a, &json!({ "denyOut": [WEB.to_string()] })).to_string();
    let json = ["-H", "Content-Type: application/json", "-d"];
    let made = ask(&[&json[..], &[&body]].concat(), "http://x/v2/sandboxes")?;
    ensure!(made.ends_with(" 201"), "{made}");
    ensure!(http(WEB).is_rejected(&open.stage.a)?);
    // What a team has created is there for the operator, with whose it is.
    let team = open.create(&open.key, &json!({ "templateID": "base", "metadata": { "who": "me" } }))?;
    let asked = open.stage.daemon.status(&team.id)?.asked;
    let asked = asked.filter(|asked| asked.provided && asked.key.is_some() && asked.ends.is_some());
    ensure!(asked.is_some_and(|asked| asked.metadata.get("who").is_some_and(|who| who == "me")));
    let shown = ask(&[], &format!("http://x/sandboxes/{}", team.id))?;
    ensure!(shown.ends_with(" 200"), "{shown}");
    let gone = ask(&["-X", "DELETE"], &format!("http://x/sandboxes/{}", team.id))?;
    ensure!(gone.trim() == "204", "{gone}");
    Ok(())
}
