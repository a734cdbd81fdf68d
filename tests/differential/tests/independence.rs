//! The model depends on no crate of this workspace.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::HashMap;
use std::process::Command;

#[test]
fn the_model_depends_on_no_crate_of_the_workspace() -> Result<()> {
    // What only other platforms need is not downloaded.
    let here = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform"])
        .arg(&here)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned())).collect()
    };
    let members = texts(&metadata["workspace_members"]);
    let nodes = metadata["resolve"]["nodes"].as_array().context("no graph")?;
    let id = |node: &Value| node["id"].as_str().unwrap_or_default().to_owned();
    let dependencies: HashMap<String, Vec<String>> =
        nodes.iter().map(|node| (id(node), texts(&node["dependencies"]))).collect();
    let model = members.iter().find(|id| id.contains("/tests/model#")).context("no model")?;
    let mut seen = vec![model.clone()];
    let mut at = 0;
    while at < seen.len() {
        for next in dependencies.get(&seen[at]).context("a crate outside the graph")? {
            ensure!(!members.contains(next), "{} depends on {next}", seen[at]);
            if !seen.contains(next) {
                seen.push(next.clone());
            }
        }
        at += 1;
    }
    ensure!(seen.iter().any(|id| id.contains("ipnet")), "the graph is not as expected: {seen:?}");
    Ok(())
}
