//! What came of the command.

use super::about;
use super::arguments::Run;
use crate::api::{Denial, Denials};
use crate::cli::error::Failure;
use crate::cli::output::{DIM, Output, paint};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// Numbers of reasons for which a policy, or what is protected, keeps somebody from somewhere; not what is about a link.
const POLICY: RangeInclusive<u8> = 30..=54;

/// All of it.
pub(super) struct Report {
    pub(super) status: ExitStatus,
    pub(super) duration: Duration,
    pub(super) network: Value,
    pub(super) denials: Denials,
    /// A policy of what it has reached.
    pub(super) learnt: Option<String>,
}

/// Where it wanted to go, and was not let.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    /// Name or address.
    to: String,
    port: Option<u16>,
    protocol: String,
    reason: String,
    /// The entry that would let it go there.
    entry: Option<String>,
}

/// The file to be written, if one is: made before the command runs, so that no run is in vain.
pub(super) fn file(run: &Run) -> Result<Option<File>, Failure> {
    run.report.as_ref().map(|path| File::create(path).map_err(about(path))).transpose()
}

impl Report {
    /// Tells people of it, and whoever reads the file.
    pub(super) fn write(&self, file: Option<File>, output: &mut Output) -> Result<(), Failure> {
        if let Some(mut file) = file {
            let text = serde_json::to_string_pretty(&self.json()).map_err(io::Error::from)?;
            file.write_all((text + "\n").as_bytes())?;
        }
        if let Some(policy) = &self.learnt {
            return output.text(policy);
        }
        output.aside(&self.summary());
        Ok(())
    }

    fn summary(&self) -> String {
        let wanted = self.wanted();
        if wanted.is_empty() {
            return String::new();
        }
        let mut text = paint(DIM, "denied:").to_string() + "\n";
        for (Wanted { to, port, protocol, reason, entry }, count) in &wanted {
            let to = match port {
                Some(port) if to.contains(':') => format!("[{to}]:{port}"),
                Some(port) => format!("{to}:{port}"),
                None => to.clone(),
            };
            let entry = entry.as_deref().map(|entry| format!("--allow-out {entry}")).unwrap_or_default();
            text += &format!("  {to:<40} {protocol:<6} {reason:<18} ×{count:<5} {entry}\n");
        }
        text
    }

    /// By place, with how often.
    fn wanted(&self) -> BTreeMap<Wanted, u64> {
        let mut wanted = BTreeMap::new();
        for Denial { event, count, .. } in &self.denials.denials {
            if !POLICY.contains(&event.reason) {
                continue;
            }
            let to = event.name.clone().or_else(|| event.destination.map(|address| address.to_string()));
            let Some(to) = to else { continue };
            let can_be_listed = matches!(event.reason_name.as_str(), "address-denied" | "name-denied" | "no-name");
            let entry = can_be_listed.then(|| to.clone());
            let (protocol, reason) = (event.protocol.clone(), event.reason_name.clone());
            let one = Wanted { to, port: event.destination_port, protocol, reason, entry };
            *wanted.entry(one).or_default() += count;
        }
        wanted
    }

    fn json(&self) -> Value {
        let denied: Vec<Value> = self
            .wanted()
            .into_iter()
            .map(|(one, count)| {
                json!({
                    "to": one.to, "port": one.port, "protocol": one.protocol, "reason": one.reason, "count": count,
                    "allowOut": one.entry,
                })
            })
            .collect();
        json!({
            "exitCode": self.status.code(),
            "signal": self.status.signal(),
            "durationMs": u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            "network": self.network,
            "denied": denied,
            "notShown": self.denials.dropped + self.denials.suppressed + self.denials.lost,
        })
    }
}
