//! What one document does: create, update, or nothing.

use super::Plan;
use crate::api::{Applied, Change};
use crate::daemon::node::{Node, now};
use crate::daemon::status::device_label;
use crate::daemon::store::Record;
use filter_policy::{Attach, Problem, diff, warnings};
use std::collections::BTreeSet;

impl Plan {
    /// Whether the document says what is in effect already.
    pub(super) fn is_unchanged(&self) -> bool {
        self.before.as_ref().is_some_and(|held| held.record.document == self.given.document)
    }

    pub(super) fn outcome(&self, node: &Node) -> Applied {
        let mut warnings = warnings(&self.sandbox, self.given.lines.as_ref());
        warnings.extend(self.window());
        let hook = match (&self.before, &self.sandbox.attach) {
            (Some(held), _) => node.dataplane.hook_name(held.place()),
            (None, Attach::Cgroup { .. }) => "cgroup",
            (None, _) => node.dataplane.hook_kind().name(),
        };
        let mut applied = Applied {
            id: self.sandbox.id.to_string(),
            change: Change::Created,
            device: device_label(&self.sandbox, &self.device.name),
            hook: hook.to_owned(),
            generation_before: None,
            generation: 1,
            added: Vec::new(),
            removed: Vec::new(),
            fields: Vec::new(),
            confirmed_ms: 0.0,
            warnings,
        };
        if let Some(held) = &self.before {
            let generation = held.record.generation;
            if self.is_unchanged() {
                return Applied { change: Change::Unchanged, generation, ..applied };
            }
            let diff = diff(&held.sandbox.policy, &self.sandbox.policy);
            applied.change = Change::Updated;
            applied.generation_before = Some(generation);
            applied.generation = generation + 1;
            applied.added = diff.added;
            applied.removed = diff.removed;
            applied.fields = changed_fields(&held.record.document, &self.given.document);
        }
        applied
    }

    /// A device that is up before its program is attached may have sent already.
    fn window(&self) -> Option<Problem> {
        (self.before.is_none() && self.device.up).then(|| {
            if let Attach::Cgroup { path, .. } = &self.sandbox.attach {
                let message =
                    format!("there are processes in {} already: what they sent was not judged", path.display());
                return Problem::warning("attach", message).hint("attach first, then let processes in");
            }
            let message =
                format!("{} was up before it was attached: what it sent until now was not judged", self.device.name);
            Problem::warning("attach", message).hint("attach first, then bring the device up")
        })
    }

    /// What is to be on disk.
    pub(super) fn record(&self, slot: u32, incarnation: u32, generation: u32, created: u64) -> Record {
        Record {
            document: self.given.document.clone(),
            lines: self.given.lines.clone(),
            slot,
            incarnation,
            generation,
            device: self.device.name.clone(),
            ifindex: self.device.ifindex,
            netns_inode: self.device.netns_inode,
            sealed: false,
            leaving: false,
            origin: self.origin.clone(),
            created,
            updated: now(),
        }
    }
}

/// Names of the fields outside the lists that differ.
fn changed_fields(old: &filter_policy::Document, new: &filter_policy::Document) -> Vec<String> {
    let (Ok(serde_json::Value::Object(old)), Ok(serde_json::Value::Object(new))) =
        (serde_json::to_value(old), serde_json::to_value(new))
    else {
        return Vec::new();
    };
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names.into_iter().filter(|name| *name != "network" && old.get(*name) != new.get(*name)).cloned().collect()
}
