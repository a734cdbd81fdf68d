//! What the command may reach, as the options say it.

use super::arguments::Run;
use super::{about, failure};
use crate::cli::error::Failure;
use crate::cli::output::Output;
use filter_policy::{Limits, Network, validate_network};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Who learns may reach everything; what names are asked for is seen by the sidecar, which a rule about nobody brings in.
fn everything() -> Value {
    json!({
        "denyOut": ["0.0.0.0/0"],
        "allowOut": ["0.0.0.0/0", "*"],
        "rules": { "nobody.invalid": [{ "transform": { "headers": { "x-nobody": "1" } } }] },
    })
}

/// The network configuration, checked.
pub(super) fn network(run: &Run, output: &mut Output) -> Result<Value, Failure> {
    let written = match &run.policy {
        _ if run.learn => everything(),
        Some(path) => {
            let text = fs::read_to_string(path).map_err(about(path))?;
            let read: Value =
                serde_saphyr::from_str(&text).map_err(|error| failure(format!("{}: {error}", path.display()), None))?;
            of_document(path, read, output)
        }
        None => json!({ "allowOut": run.allow_out, "denyOut": run.deny_out }),
    };
    let network: Network = serde_json::from_value(written.clone())
        .map_err(|error| failure(format!("the policy: {error}"), Some("it is what a document's `network` is")))?;
    validate_network(&network, None, &Limits::default()).map_err(|problems| Failure::documents(problems.0))?;
    Ok(written)
}

/// What a whole document says of networks; that the rest has no part in it is told.
fn of_document(path: &Path, read: Value, output: &mut Output) -> Value {
    let Some(network) = read.get("network").cloned() else { return read };
    let others = read.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    let unused: Vec<&str> = others.filter(|key| !matches!(*key, "network" | "version")).collect();
    if !unused.is_empty() {
        let unused = unused.join(", ");
        output.aside(&format!("{}: {unused}: not used, the command has a sandbox of its own\n", path.display()));
    }
    network
}
