//! What an update means: one sandbox that goes through many configurations, with traffic after each.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use test_api::{EXAMPLE, Open};
use test_scenarios::{NOWHERE, Probe, dns, get_named, http, https, ping, udp};
use test_world::internet::{CLOUDFLARE, CLOUDFLARE6, GOOGLE, WEB, WEB_ELSEWHERE, WEB_NEIGHBOUR, WEB6};

/// A configuration; what passes under it and what does not; whether `example.test` and `other.test` can be reached by name, where
/// nothing can be reached that is not named.
struct Step {
    network: Value,
    passes: Vec<Probe>,
    denied: Vec<Probe>,
    names: Option<[bool; 2]>,
}

fn step(network: Value, passes: &[Probe], denied: &[Probe], names: impl Into<Option<[bool; 2]>>) -> Step {
    Step { network, passes: passes.to_vec(), denied: denied.to_vec(), names: names.into() }
}

fn steps() -> Vec<Step> {
    let everything = [http(WEB), http(WEB_ELSEWHERE), http(WEB6), udp(CLOUDFLARE)];
    vec![
        // A list that is left out is cleared, and `{}` clears all of them.
        step(json!({ "denyOut": [WEB.to_string()] }), &[http(WEB_NEIGHBOUR), http(WEB6)], &[http(WEB)], None),
        step(json!({ "denyOut": ["0.0.0.0/0"] }), &[], &everything, [false; 2]),
        step(json!({ "allowOut": [WEB.to_string()] }), &everything, &[], None),
        step(
            json!({ "allowOut": [WEB.to_string()], "denyOut": ["0.0.0.0/0"] }),
            &[http(WEB), https(WEB)],
            &[http(WEB_NEIGHBOUR), http(WEB6), udp(CLOUDFLARE), ping(CLOUDFLARE6)],
            [false; 2],
        ),
        step(json!({}), &everything, &[], None),
        // Allow wins at any length.
        step(
            json!({ "allowOut": ["203.0.113.0/24"], "denyOut": [format!("{WEB}/32"), "192.0.2.0/24"] }),
            &[http(WEB), http(WEB_NEIGHBOUR)],
            &[http(WEB_ELSEWHERE)],
            None,
        ),
        // `false` replaces the denied list and keeps what is allowed; it does not stand in for the entry that names need.
        step(
            json!({ "allow_internet_access": false, "allowOut": [WEB_ELSEWHERE.to_string()], "denyOut": [] }),
            &[http(WEB_ELSEWHERE)],
            &[http(WEB), http(WEB6)],
            [false; 2],
        ),
        step(json!({ "allow_internet_access": true, "denyOut": [WEB.to_string()] }), &[http(WEB6)], &[http(WEB)], None),
        step(json!({ "allow_internet_access": false }), &[], &everything, [false; 2]),
        // Names.
        step(
            json!({ "allowOut": ["example.test"], "denyOut": ["0.0.0.0/0"] }),
            &[dns(GOOGLE)],
            &[http(WEB), dns(CLOUDFLARE), udp(GOOGLE)],
            [true, false],
        ),
        step(json!({ "allowOut": ["*.test"], "denyOut": ["0.0.0.0/0"] }), &[dns(GOOGLE)], &[http(WEB6)], [true, true]),
        step(
            json!({ "allowOut": ["OTHER.test.", WEB.to_string()], "denyOut": ["0.0.0.0/0"] }),
            &[http(WEB), dns(GOOGLE)],
            &[http(WEB_ELSEWHERE)],
            [false, true],
        ),
        step(json!({ "denyOut": ["0.0.0.0/0"] }), &[], &[http(WEB), dns(GOOGLE)], [false; 2]),
        // Each family by itself.
        step(json!({ "denyOut": ["::/0"] }), &[http(WEB)], &[http(WEB6), ping(CLOUDFLARE6)], None),
        step(
            json!({ "denyOut": ["0.0.0.0/0"], "allowOut": ["2001:db8:10::/64"] }),
            &[http(WEB6)],
            &[http(WEB), ping(CLOUDFLARE6)],
            [false; 2],
        ),
        // What nothing passes by yet, and the way back.
        step(json!({ "egressProxy": { "address": format!("{WEB_NEIGHBOUR}:1080") } }), &[], &[http(WEB)], [false; 2]),
        step(json!({ "egressProxy": null, "denyOut": [], "allowOut": [] }), &everything, &[], None),
        step(json!({ "denyOut": ["203.0.113.10/31"] }), &[http(WEB_NEIGHBOUR)], &[http(WEB)], None),
    ]
}

#[test]
fn one_configuration_takes_the_place_of_another() -> Result<()> {
    let open = Open::with("apisteps", "")?;
    let a = &open.stage.a;
    open.create_at(a, &json!({ "denyOut": ["0.0.0.0/0"], "maskRequestHost": "localhost:${PORT}" }))?;
    for (at, Step { network, passes, denied, names }) in steps().into_iter().enumerate() {
        let what = format!("step {at}, {network}");
        let reply = open.update(&open.operator, "a", &network)?;
        ensure!(reply.status == 204, "{what}: {reply:?}");
        for probe in &passes {
            ensure!(probe.gets_through(a, true)?, "{what}: {probe} does not pass");
        }
        for probe in &denied {
            ensure!(!probe.gets_through(a, false)?, "{what}: {probe} passes");
        }
        for (name, expected) in ["example.test", "other.test"].into_iter().zip(names.into_iter().flatten()) {
            for scheme in ["http", "https"] {
                let (code, body) = get_named(a, scheme, name, NOWHERE)?;
                let reached = code == 0 && body.trim() == EXAMPLE.to_string();
                ensure!(reached == expected, "{what}: {scheme}://{name}: {code} {body:?}");
            }
        }
        let shown = open.info(&open.operator, "a")?;
        for list in ["allowOut", "denyOut"] {
            let given = network.get(list).cloned().unwrap_or(json!([]));
            ensure!(shown["network"][list] == given, "{what}: shown {shown}");
        }
        ensure!(shown["network"]["maskRequestHost"] == "localhost:${PORT}", "{what}: shown {shown}");
        let access = network.get("allow_internet_access").cloned().unwrap_or(Value::Null);
        ensure!(shown["allowInternetAccess"] == access, "{what}: shown {shown}");
    }
    Ok(())
}

#[test]
fn rules_stay_unless_an_update_has_some_and_secrets_are_for_their_owner() -> Result<()> {
    let open = Open::with("apirules", "")?;
    let rules = |value: &str| json!({ "api.test": [{ "transform": { "headers": { "authorization": value } } }] });
    let proxy = json!({ "address": format!("{WEB_NEIGHBOUR}:1080"), "username": "u", "password": "hunter2" });
    open.create_at(&open.stage.a, &json!({ "rules": rules("first"), "egressProxy": proxy }))?;
    let shown = open.info(&open.operator, "a")?;
    ensure!(shown["network"]["rules"] == rules("first"), "{shown}");
    ensure!(shown["network"]["egressProxy"] == json!({ "address": proxy["address"], "username": "u" }), "{shown}");
    for (update, expected) in [
        (json!({}), rules("first")),
        (json!({ "rules": rules("second") }), rules("second")),
        (json!({ "denyOut": ["192.0.2.0/24"] }), rules("second")),
        (json!({ "rules": {} }), Value::Null),
    ] {
        ensure!(open.update(&open.operator, "a", &update)?.status == 204);
        let shown = open.info(&open.operator, "a")?;
        ensure!(
            shown["network"]["rules"] == expected && shown["network"]["egressProxy"].is_null(),
            "{update}: {shown}"
        );
    }
    let log = open.stage.daemon.log();
    ensure!(!log.contains("hunter2") && !log.contains("second"), "a secret is in the log");
    Ok(())
}
