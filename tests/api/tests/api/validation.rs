//! What is refused, with which status and which words; each row on a sandbox that it must leave as it is.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use test_api::{Open, Request, at};
use test_scenarios::http;
use test_world::internet::{WEB, WEB_ELSEWHERE};

/// A network configuration, and what is answered to it.
type Row = (Value, &'static str);

/// The names of a list without what must go with them.
const NAMES_NEED: &str = "When specifying allowed domains in allow out, you must include 'ALL_TRAFFIC' in deny out to block all other traffic.";

/// What both create and update refuse. An answer that ends in `…` is the beginning of it.
fn egress() -> Vec<Row> {
    let all = json!(["0.0.0.0/0"]);
    let denied = |entry: &str| json!({ "denyOut": [entry] });
    let allowed = |entry: &str| json!({ "allowOut": [entry], "denyOut": ["0.0.0.0/0"] });
    let many = |hosts: usize| -> Value {
        let rule = json!([{ "transform": { "headers": { "x-a": "1" } } }]);
        let hosts = (0..hosts).map(|at| (format!("h{at}.example.test"), rule.clone()));
        json!({ "rules": hosts.collect::<serde_json::Map<_, _>>() })
    };
    let headers = |headers: Value| json!({ "rules": { "a.test": [{ "transform": { "headers": headers } }] } });
    let numbered = |count: usize| Value::Object((0..count).map(|at| (format!("x-{at}"), json!("1"))).collect());
    let proxy = |proxy: Value| json!({ "egressProxy": proxy });
    vec![
        (denied("example.com"), "invalid denied CIDR example.com"),
        (denied("garbage!"), "invalid denied CIDR garbage!"),
        (denied(""), "invalid denied CIDR "),
        (denied("0.0.0.0"), "invalid denied CIDR 0.0.0.0"),
        (denied("0.0.0.0/8"), "invalid denied CIDR 0.0.0.0/8"),
        (denied("::"), "invalid denied CIDR ::"),
        (denied("10.0.0.0/"), "invalid denied CIDR 10.0.0.0/"),
        (denied("10.0.0.0/33"), "invalid denied CIDR 10.0.0.0/33"),
        (allowed("0.0.0.0"), "invalid allowed address 0.0.0.0"),
        (allowed("0.0.0.0/8"), "invalid allowed address 0.0.0.0/8"),
        (allowed("::"), "invalid allowed address ::"),
        (allowed(""), "invalid allowed entry : …"),
        (allowed("http://x"), "invalid allowed entry http://x: …"),
        (allowed("a b"), "invalid allowed entry a b: …"),
        (allowed("x.com:443"), "invalid allowed entry x.com:443: …"),
        (allowed("256.1.1.1"), "invalid allowed entry 256.1.1.1: …"),
        (allowed("08.8.8.8"), "invalid allowed entry 08.8.8.8: …"),
        (allowed("*foo.com"), "invalid allowed entry *foo.com: …"),
        (allowed("a.*.com"), "invalid allowed entry a.*.com: …"),
        (json!({ "allowOut": ["example.com"] }), NAMES_NEED),
        (json!({ "allowOut": ["*"], "denyOut": ["128.0.0.0/1"] }), NAMES_NEED),
        (many(11), "validation error: rules: 11 hosts are too many: 10 is the most"),
        (
            json!({ "rules": { "a.test": [{}, {}] } }),
            "validation error: rules.a.test: 2 transforms are too many: 1 is the most",
        ),
        (
            headers(numbered(21)),
            "validation error: rules.a.test[0].transform.headers: 21 headers are too many: 20 is the most",
        ),
        (json!({ "rules": { "*": [] } }), "validation error: rules.* \"*\": a rule needs a name or *. before a name"),
        (json!({ "rules": { "a b": [] } }), "validation error: rules.a b \"a b\": …"),
        (json!({ "rules": { "1.2.3.4": [] } }), "validation error: rules.1.2.3.4 …"),
        (json!({ "rules": { "a".repeat(129): [] } }), "validation error: rules.aaa…"),
        (headers(json!({ "a b": "1" })), "validation error: rules.a.test[0].transform.headers \"a b\": …"),
        (
            headers(json!({ "a".repeat(65): "1" })),
            "validation error: rules.a.test[0].transform.headers: a header name …",
        ),
        (
            headers(json!({ "x": "a\nb" })),
            "validation error: rules.a.test[0].transform.headers \"x\": the value has a …",
        ),
        (headers(json!({ "x": "a".repeat(2049) })), "validation error: rules.a.test[0].transform.headers \"x\": …"),
        (proxy(json!({ "address": "nowhere" })), "validation error: egressProxy.address: not host:port"),
        (proxy(json!({ "address": "x:0" })), "validation error: egressProxy.address: not host:port"),
        (
            proxy(json!({ "address": "10.1.2.3:1080" })),
            "validation error: egressProxy.address: leads to 10.1.2.3, which is in a protected range",
        ),
        (proxy(json!({ "address": "[::ffff:203.0.113.9]:1080" })), "validation error: egressProxy.address: leads to …"),
        (
            proxy(json!({ "address": "inside.test:1080" })),
            "validation error: egressProxy.address: leads to 10.0.0.9, which is in a protected range",
        ),
        (
            proxy(json!({ "address": "nowhere.test:1080" })),
            "validation error: egressProxy.address \"nowhere.test\": does not resolve to an address",
        ),
        (
            proxy(json!({ "address": "203.0.113.9:1080", "password": "x" })),
            "validation error: egressProxy.password: a password needs a username",
        ),
        (
            proxy(json!({ "address": "203.0.113.9:1080", "username": "a".repeat(256) })),
            "validation error: egressProxy.username: longer than 255 bytes",
        ),
        // What breaks the schema.
        (json!({ "allowOut": "8.8.8.8" }), "validation error: …"),
        (json!({ "allowOut": null }), "validation error: …"),
        (json!({ "denyOut": [1] }), "validation error: …"),
        (json!({ "denyOut": all, "allowout": [] }), "validation error: …"),
        (json!({ "rules": [] }), "validation error: …"),
        (json!({ "rules": { "a.test": [{ "transform": { "headers": { "x": 7 } } }] } }), "validation error: …"),
        (json!({ "egressProxy": "203.0.113.9:1080" }), "validation error: …"),
        (json!({ "egressProxy": {} }), "validation error: …"),
    ]
}

/// What only create takes, and refuses.
fn ingress() -> Vec<Row> {
    vec![
        (json!({ "maskRequestHost": "a b" }), "mask request host is not valid: a b"),
        (json!({ "maskRequestHost": "x:port" }), "mask request host is not valid: x:port"),
        (
            json!({ "maskRequestHost": "bücher.test" }),
            "mask request host 'bücher.test' is not ASCII. Please use ASCII characters only.",
        ),
        (json!({ "httpsPorts": [0] }), "validation error: httpsPorts[0]: 0 is no port"),
        (json!({ "httpsPorts": [65536] }), "validation error: …"),
        (json!({ "allowPublicTraffic": "no" }), "validation error: …"),
    ]
}

fn answers(message: &str, expected: &str) -> bool {
    match expected.strip_suffix('…') {
        Some(beginning) => message.starts_with(beginning),
        None => message == expected,
    }
}

#[test]
fn a_create_call_is_refused_with_these_words() -> Result<()> {
    let open = Open::with("apicreate", "")?;
    let a = &open.stage.a;
    for (network, expected) in egress().into_iter().chain(ingress()) {
        for path in ["/v2/sandboxes", "/sandboxes"] {
            let reply = open.send(&Request::new("POST", path).key(&open.operator).json(&at(a, &network)))?;
            let message = reply.message()?;
            ensure!(reply.status == 400 && answers(&message, expected), "{network}: {} {message:?}", reply.status);
        }
    }
    ensure!(open.stage.daemon.list()?.is_empty(), "something was created");
    Ok(())
}

#[test]
fn an_update_is_refused_with_these_words_and_changes_nothing() -> Result<()> {
    let open = Open::with("apiupdate", "")?;
    let a = &open.stage.a;
    open.create_at(a, &json!({ "denyOut": [WEB_ELSEWHERE.to_string()] }))?;
    let before = open.info(&open.operator, "a")?;
    let create_only = ["allowPublicTraffic", "maskRequestHost", "httpsPorts"];
    let create_only = create_only.map(|field| (json!({ field: null }), "validation error: …"));
    for (network, expected) in egress().into_iter().chain(create_only) {
        let reply = open.update(&open.operator, "a", &network)?;
        let message = reply.message()?;
        ensure!(reply.status == 400 && answers(&message, expected), "{network}: {} {message:?}", reply.status);
    }
    let reply = open.update(&open.operator, "a", &json!({ "maskRequestHost": "x.test" }))?;
    ensure!(reply.message()?.contains("maskRequestHost can be set when a sandbox is created"), "{reply:?}");
    ensure!(open.info(&open.operator, "a")? == before);
    ensure!(open.stage.daemon.status("a")?.generation == 1);
    ensure!(http(WEB).gets_through(a, true)? && http(WEB_ELSEWHERE).is_rejected(a)?);
    Ok(())
}

#[test]
fn checks_come_in_one_order() -> Result<()> {
    let open = Open::with("apiorder", "")?;
    let put = |path: &str| Request::new("PUT", path);
    for (request, status, message) in [
        // The id before the body, the body before the sandbox.
        (put("/sandboxes/A/network").text("{"), 400, "Invalid sandbox ID"),
        (put("/sandboxes/a.b/network").text("{}"), 400, "Invalid sandbox ID"),
        (put("/sandboxes/a%2fb/network").text("{}"), 400, "Invalid sandbox ID"),
        (put("/sandboxes/a-/network").text("{}"), 400, "Invalid sandbox ID"),
        (put("/sandboxes/nobody/network").text("{"), 400, "validation error: …"),
        (put("/sandboxes/nobody/network").text(r#"{"denyOut":["x"]}"#), 404, "Sandbox \"nobody\" doesn't exist …"),
        (
            put("/sandboxes/nobody-abc1/network").text("{}"),
            404,
            "Sandbox \"nobody\" doesn't exist or you don't have access to it",
        ),
        (Request::new("GET", "/sandboxes/nobody"), 404, "Sandbox \"nobody\" doesn't exist …"),
        (Request::new("DELETE", "/sandboxes/nobody"), 404, "Sandbox \"nobody\" doesn't exist …"),
        (Request::new("POST", "/sandboxes/nobody/timeout").text("{}"), 400, "validation error: …"),
        (Request::new("POST", "/sandboxes/nobody/timeout").text(r#"{"timeout":-1}"#), 400, "validation error: …"),
        (Request::new("POST", "/sandboxes/nobody/timeout").text(r#"{"timeout":5}"#), 404, "Sandbox \"nobody\" …"),
        (Request::new("POST", "/sandboxes/nobody/pause").text("{}"), 501, "pausing is not supported…"),
        (Request::new("POST", "/sandboxes/nobody/snapshots").text("{}"), 501, "taking snapshots is not supported…"),
        (Request::new("POST", "/sandboxes/nobody/fork").text("{}"), 501, "forking is not supported…"),
        (Request::new("PATCH", "/sandboxes/nobody"), 405, "this path has no such method"),
        (Request::new("GET", "/nowhere"), 404, "no such request"),
        (
            Request::new("POST", "/sandboxes").text(r#"{"network":{"allowPublicTraffic":false}}"#),
            400,
            "You cannot create a sandbox without public access unless you enable secure envd access via 'secure' flag.",
        ),
        (Request::new("POST", "/v2/sandboxes").text(r#"{"templateID":"base"}"#), 503, "no provider …"),
        (
            Request::new("POST", "/v2/sandboxes").text(r#"{"templateID":"base","autoPause":true}"#),
            400,
            "validation error: autoPause: …",
        ),
        (Request::new("POST", "/v2/sandboxes").text(r#"{"metadata":{"a":1}}"#), 400, "validation error: …"),
        (Request::new("POST", "/v2/sandboxes").text(r#"{"timeout":400000000}"#), 400, "validation error: …"),
    ] {
        let reply = open.send(&request.clone().key(&open.key))?;
        let said = reply.message()?;
        ensure!(reply.status == status && answers(&said, message), "{request:?}: {} {said:?}", reply.status);
    }
    Ok(())
}
