//! The published SDKs, unmodified: everything they do with networks, and the traffic that shows it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use test_api::{Driver, EXAMPLE, Open, Request, Sdk};
use test_scenarios::{NOWHERE, Outcome, Probe, SOON, dns, get_named, http, https, udp};
use test_world::Node;
use test_world::internet::{CLOUDFLARE, GOOGLE, WEB, WEB_ELSEWHERE, WEB6};

#[test]
fn the_newest_of_npm() -> Result<()> {
    everything("sdkjsnew", Sdk::JsNewest)
}

#[test]
fn an_older_one_of_npm() -> Result<()> {
    everything("sdkjsold", Sdk::JsOlder)
}

#[test]
fn the_newest_of_pypi() -> Result<()> {
    everything("sdkpynew", Sdk::PythonNewest)
}

#[test]
fn an_older_one_of_pypi() -> Result<()> {
    everything("sdkpyold", Sdk::PythonOlder)
}

fn everything(name: &str, sdk: Sdk) -> Result<()> {
    let open = Open::providing(name)?;
    let mut driver = sdk.drive(&open, &open.key)?;
    creates(&open, &mut driver).context("create")?;
    updates(&open, &mut driver).context("update")?;
    lives(&open, &mut driver).context("info, list, timeout, kill")?;
    refusals(&open, &mut driver, sdk).context("refusals")
}

/// A form of `network`, and what it means.
struct Form {
    network: Value,
    /// What is shown of it; what is left out is not compared.
    shown: Value,
    passes: Vec<Probe>,
    denied: Vec<Probe>,
    /// Whether `example.test` and `other.test` can be reached by name.
    names: Option<[bool; 2]>,
}

fn form(network: Value, shown: Value, passes: &[Probe], denied: &[Probe], names: Option<[bool; 2]>) -> Form {
    Form { network, shown, passes: passes.to_vec(), denied: denied.to_vec(), names }
}

fn forms() -> Vec<Form> {
    let all = json!(["0.0.0.0/0"]);
    let rules = json!({ "example.test": [{ "transform": { "headers": { "x-team": "blue" } } }] });
    vec![
        form(
            json!({ "denyOut": [WEB_ELSEWHERE.to_string()] }),
            json!({ "denyOut": [WEB_ELSEWHERE.to_string()] }),
            &[http(WEB), https(WEB), http(WEB6)],
            &[http(WEB_ELSEWHERE)],
            None,
        ),
        form(
            json!({ "allowOut": [WEB.to_string(), "2001:db8:10::/64"], "denyOut": all }),
            json!({ "allowOut": [WEB.to_string(), "2001:db8:10::/64"], "denyOut": all }),
            &[http(WEB), http(WEB6)],
            &[http(WEB_ELSEWHERE), udp(CLOUDFLARE)],
            None,
        ),
        form(
            json!({ "allowOut": ["example.test"], "denyOut": all }),
            json!({ "allowOut": ["example.test"], "denyOut": all }),
            &[dns(GOOGLE)],
            &[http(WEB_ELSEWHERE), dns(CLOUDFLARE)],
            Some([true, false]),
        ),
        // Functions that choose from the rules, and all traffic.
        form(
            json!({ "rules": rules, "chooses": { "alsoAllow": ["other.test", WEB_ELSEWHERE.to_string()] } }),
            json!({ "allowOut": ["example.test", "other.test", WEB_ELSEWHERE.to_string()], "denyOut": all, "rules": rules }),
            &[http(WEB_ELSEWHERE), dns(GOOGLE)],
            &[udp(CLOUDFLARE)],
            // Headers are not set yet, so what a rule is about does not pass.
            Some([false, true]),
        ),
    ]
}

/// Shows by traffic that a form is in force.
fn holds(open: &Open, driver: &mut Driver, id: &str, form: &Form) -> Result<()> {
    let inside: Node = open.stage.world.adopt(&format!("sandbox-{id}"))?;
    for probe in &form.passes {
        let outcome = probe.ask(&inside, SOON)?;
        ensure!(outcome == Outcome::Through, "{}: {probe}: {outcome:?}", form.network);
    }
    for probe in &form.denied {
        ensure!(!probe.gets_through(&inside, false)?, "{}: {probe} passes", form.network);
    }
    for (name, expected) in ["example.test", "other.test"].into_iter().zip(form.names.into_iter().flatten()) {
        let (code, body) = get_named(&inside, "https", name, NOWHERE)?;
        let reached = code == 0 && body.trim() == EXAMPLE.to_string();
        ensure!(reached == expected, "{}: {name}: {code} {body:?}", form.network);
    }
    let info = driver.does("info", json!({ "id": id }))?;
    for (field, value) in form.shown.as_object().context("fields")? {
        // SDKs that know nothing of a field do not show it.
        if !info["network"][field].is_null() {
            ensure!(info["network"][field] == *value, "{}: shown {info}", form.network);
        }
    }
    Ok(())
}

fn creates(open: &Open, driver: &mut Driver) -> Result<()> {
    for form in forms() {
        let made = driver.does("create", json!({ "network": form.network }))?;
        let id = made["id"].as_str().context("no id")?;
        ensure!(made["host"] == format!("8080-{id}.sandbox.test"), "{made}");
        holds(open, driver, id, &form)?;
        ensure!(driver.does("kill", json!({ "id": id }))?["killed"] == true);
    }
    let network =
        json!({ "allowPublicTraffic": false, "maskRequestHost": "localhost:${PORT}", "denyOut": ["0.0.0.0/0"] });
    let made = driver.does("create", json!({ "network": network, "secure": true }))?;
    let id = made["id"].as_str().context("no id")?;
    ensure!(made["trafficAccessToken"].as_str().is_some_and(|token| token.len() == 64), "{made}");
    let inside = open.stage.world.adopt(&format!("sandbox-{id}"))?;
    ensure!(http(WEB).is_rejected(&inside)?);
    let shown = open.info(&open.key, id)?;
    ensure!(
        shown["network"]["allowPublicTraffic"] == false && shown["network"]["maskRequestHost"] == "localhost:${PORT}"
    );
    driver.does("kill", json!({ "id": id }))?;

    let made = driver.does("create", json!({ "allowInternetAccess": false }))?;
    let id = made["id"].as_str().context("no id")?;
    let inside = open.stage.world.adopt(&format!("sandbox-{id}"))?;
    ensure!(http(WEB).is_rejected(&inside)? && http(WEB6).is_rejected(&inside)?);
    ensure!(driver.does("info", json!({ "id": id }))?["allowInternetAccess"] == false);
    driver.does("kill", json!({ "id": id }))?;
    Ok(())
}

fn updates(open: &Open, driver: &mut Driver) -> Result<()> {
    let made = driver.does("create", json!({ "network": { "denyOut": ["0.0.0.0/0"] } }))?;
    let id = made["id"].as_str().context("no id")?;
    let nothing =
        form(json!({}), json!({ "allowOut": [], "denyOut": [] }), &[http(WEB), http(WEB6), udp(CLOUDFLARE)], &[], None);
    for form in forms() {
        driver.does("update", json!({ "id": id, "network": form.network }))?;
        holds(open, driver, id, &form)?;
        driver.does("updateConnected", json!({ "id": id, "network": { "rules": {} } }))?;
        holds(open, driver, id, &nothing)?;
    }
    let closed = form(json!({}), json!({}), &[], &[http(WEB), http(WEB6)], None);
    driver.does("update", json!({ "id": id, "network": { "allowInternetAccess": false } }))?;
    holds(open, driver, id, &closed)?;
    driver.does("update", json!({ "id": id, "network": {} }))?;
    holds(open, driver, id, &nothing)?;
    driver.does("kill", json!({ "id": id }))?;
    Ok(())
}

fn lives(open: &Open, driver: &mut Driver) -> Result<()> {
    let mut ids = Vec::new();
    for team in ["blue", "red", "blue"] {
        let made =
            driver.does("create", json!({ "metadata": { "team": team, "a b": "c&d=e" }, "timeoutMs": 600_000 }))?;
        ids.push(made["id"].as_str().context("no id")?.to_owned());
    }
    let info = driver.does("info", json!({ "id": ids[0] }))?;
    ensure!(
        info["sandboxId"] == ids[0].as_str() && info["state"] == "running" && info["templateId"] == "base",
        "{info}"
    );
    ensure!(info["metadata"] == json!({ "team": "blue", "a b": "c&d=e" }), "{info}");
    let listed = driver.does("list", json!({ "limit": 1 }))?;
    ensure!(listed["ids"].as_array().is_some_and(|all| all.len() == 3) && listed["pages"] == 3, "{listed}");
    let blue = driver.does("list", json!({ "metadata": { "team": "blue", "a b": "c&d=e" } }))?;
    ensure!(blue["ids"].as_array().is_some_and(|all| all.len() == 2 && all.contains(&json!(ids[2]))), "{blue}");

    driver.does("timeout", json!({ "id": ids[1], "ms": 1_000 }))?;
    let show = Request::new("GET", format!("/sandboxes/{}", ids[1])).key(&open.key);
    let is_gone = || open.send(&show).is_ok_and(|reply| reply.status == 404);
    ensure!(test_world::wait_until(SOON, is_gone), "it lives on");
    ensure!(driver.does("kill", json!({ "id": ids[1] }))?["killed"] == false);
    for id in [&ids[0], &ids[2]] {
        ensure!(driver.does("kill", json!({ "id": id }))?["killed"] == true);
    }
    ensure!(driver.does("list", json!({}))?["ids"] == json!([]));
    Ok(())
}

fn refusals(open: &Open, driver: &mut Driver, sdk: Sdk) -> Result<()> {
    let mut thrown = |action: &str, arguments: Value| -> Result<(String, String)> {
        let thrown =
            driver.tries(action, arguments.clone())?.err().with_context(|| format!("{action} {arguments} works"))?;
        Ok((thrown.kind, thrown.message))
    };
    let (kind, message) = thrown("info", json!({ "id": "nobody" }))?;
    ensure!(kind.starts_with("SandboxNotFound") || kind.starts_with("NotFound"), "{kind}: {message}");
    let (kind, message) = thrown("update", json!({ "id": "nobody", "network": {} }))?;
    ensure!(kind.starts_with("SandboxNotFound") || kind.starts_with("NotFound"), "{kind}: {message}");
    for (network, words) in [
        (json!({ "denyOut": ["example.com"] }), "invalid denied CIDR example.com"),
        (json!({ "allowOut": ["0.0.0.0"] }), "invalid allowed address 0.0.0.0"),
        (json!({ "allowOut": ["example.com"] }), "you must include 'ALL_TRAFFIC' in deny out"),
        (json!({ "maskRequestHost": "a b" }), "mask request host is not valid: a b"),
    ] {
        let (_, message) = thrown("create", json!({ "network": network }))?;
        ensure!(message.contains("400") && message.contains(words), "{network}: {message}");
    }
    if matches!(sdk, Sdk::JsOlder | Sdk::PythonOlder) {
        let (_, message) = thrown("create", json!({ "secure": false, "network": { "allowPublicTraffic": false } }))?;
        ensure!(message.contains("unless you enable secure envd access via 'secure' flag."), "{message}");
    }
    let (_, message) = thrown("create", json!({ "template": "nowhere" }))?;
    ensure!(message.contains("template \"nowhere\" doesn't exist"), "{message}");
    driver.does("key", json!({ "key": "e2b_0123456789abcdef0123456789abcdef01234567" }))?;
    let refused = driver.tries("list", json!({}))?.err().context("a wrong key lets in")?;
    ensure!(refused.kind.starts_with("Authentication") && refused.message.contains("not known"), "{refused:?}");
    let left = open.stage.daemon.list()?;
    ensure!(left.is_empty(), "something is left: {left:?}");
    Ok(())
}
