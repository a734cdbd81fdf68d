//! The OpenAPI document is true: its paths are those that there are, and nothing is answered that it does not say.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use test_api::{Open, PORT, Request, schemathesis};

/// Where routes are declared.
const ROUTES: &str = include_str!("../../../../filter-ctl/src/daemon/rest/mod.rs");
const METHODS: [(&str, &str); 5] =
    [("get", "GET"), ("put", "PUT"), ("post", "POST"), ("delete", "DELETE"), ("patch", "PATCH")];

#[test]
fn every_route_is_in_the_document_and_none_is_there_that_is_not() -> Result<()> {
    let open = Open::with("apidoc", "")?;
    let document = open.send(&Request::new("GET", "/openapi.json"))?.json()?;
    let paths = document["paths"].as_object().context("no paths")?;
    let declared = ROUTES.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let declared: BTreeSet<String> = declared.map(|path| path.replace("{id}", "{sandboxID}")).collect();
    ensure!(declared == paths.keys().cloned().collect(), "{declared:?} are declared, {:?} written down", paths.keys());
    for (path, operations) in paths {
        for (name, method) in METHODS {
            let request = Request::new(method, path.replace("{sandboxID}", "nobody")).key(&open.operator).text("{}");
            let there = open.send(&request)?.status != 405;
            let documented = operations.get(name).is_some();
            ensure!(there == documented, "{method} {path}: there is one: {there}, written down: {documented}");
        }
    }
    Ok(())
}

#[test]
fn nothing_is_answered_that_the_document_does_not_say() -> Result<()> {
    // Room for all that a tester may create.
    let open = Open::with(
        "apischema",
        "provider: { netns: { pool: [203.0.112.0/24, 203.0.116.0/22], uplink: up0, connections: 64 } }\n",
    )?;
    let examples = std::env::var("SCHEMATHESIS_EXAMPLES").unwrap_or_else(|_| "40".to_owned());
    let mut command = open.stage.world.host().command(schemathesis()?);
    command
        .args(["run", &format!("http://127.0.0.1:{PORT}/openapi.json"), "--no-color", "--workers", "1", "--seed", "1"])
        .args(["--max-examples", &examples, "--generation-database", "none", "--suppress-health-check", "all"])
        .args(["--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure", "--warnings", "off"])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"])
        .args(["--checks", "response_schema_conformance,response_headers_conformance"])
        // What this host has nothing of is answered 501, and that is written down.
        .args(["--exclude-operation-id-regex", "^(pause|resume|fork|snapshots|metrics|listSnapshots)$"])
        .args(["-H", &format!("X-API-Key: {}", open.key)]);
    let mut process = open.stage.world.host().spawn_command(command)?;
    let output = process.wait(Duration::from_secs(900))?;
    ensure!(output.status.success(), "{}\n{}", output.stdout, output.stderr);
    println!("{}", output.stdout);
    let alive = open.send(&Request::new("GET", "/v2/sandboxes").key(&open.key))?;
    ensure!(alive.status == 200 && matches!(alive.json()?, Value::Array(_)));
    Ok(())
}
