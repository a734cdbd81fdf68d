//! Where the command runs.

use super::{about, failure};
use crate::api::{ApplyDocument, ApplyReply, ApplyRequest};
use crate::cli::client::Client;
use crate::cli::error::Failure;
use filter_policy::Document;
use filter_policy::document::{Addresses, Attach, OnDeny};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

/// The sandbox of a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Place {
    /// A cgroup, on the host's network.
    Cgroup { id: String, path: PathBuf },
    /// A network namespace of its own, which the daemon makes.
    Netns { id: String },
}

impl Place {
    /// A place that nobody has.
    pub(super) fn new(is_cgroup: bool) -> Result<Place, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
        let id = format!("run{}x{now:x}", process::id());
        if !is_cgroup {
            return Ok(Place::Netns { id });
        }
        let below = filter_dataplane::own_cgroup().map_err(|error| {
            failure(format!("a cgroup is needed: {error}"), Some("leave out --cgroup, or mount a cgroup2 file system"))
        })?;
        Ok(Place::Cgroup { path: below.join(format!("sandbox-filter-{id}")), id })
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Place::Cgroup { id, .. } | Place::Netns { id } => id,
        }
    }
}

/// Makes the sandbox.
pub(super) async fn make(client: &Client, place: &Place, network: &Value) -> Result<(), Failure> {
    match place {
        Place::Cgroup { id, path } => {
            fs::create_dir(path).map_err(about(path))?;
            let network = serde_json::from_value(network.clone()).map_err(io::Error::from)?;
            let document = Document {
                version: 1,
                id: id.clone(),
                name: None,
                attach: Attach { cgroup: Some(path.display().to_string()), ..Attach::default() },
                addresses: Addresses::Any,
                mac: None,
                gateway: Vec::new(),
                dhcp: false,
                inbound_from: Vec::new(),
                on_deny: OnDeny::default(),
                network,
            };
            let request = ApplyRequest { documents: vec![ApplyDocument { document, lines: None }], dry_run: false };
            client.post::<ApplyReply>("/v1/apply", &request).await.map(drop)
        }
        Place::Netns { id } => {
            let body = json!({ "sandboxID": id, "templateID": "base", "timeout": 86_400 * 365, "network": network });
            client.post::<Value>("/v2/sandboxes", &body).await.map(drop)
        }
    }
}
