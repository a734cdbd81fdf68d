//! Carrying out one document: create, update, or find nothing to do.

use super::{Plan, Undo};
use crate::api::{Applied, Change};
use crate::daemon::attachment::attachment;
use crate::daemon::node::{Held, Node, now};
use crate::daemon::refusal::Refusal;
use crate::daemon::status::device_label;
use crate::daemon::store::Record;
use filter_dataplane::{Error, Place, fail_point};
use filter_policy::{Problem, compile, diff, warnings};
use std::collections::BTreeSet;

impl Plan {
    /// Whether the document says what is in effect already.
    fn is_unchanged(&self) -> bool {
        self.before.as_ref().is_some_and(|held| held.record.document == self.given.document)
    }

    pub(super) fn outcome(&self, node: &Node) -> Applied {
        let mut warnings = warnings(&self.sandbox, self.given.lines.as_ref());
        warnings.extend(self.window());
        let hook = match &self.before {
            Some(held) => node.dataplane.hook(held.place()),
            None => node.dataplane.hook_kind(),
        };
        let mut applied = Applied {
            id: self.sandbox.id.to_string(),
            change: Change::Created,
            device: device_label(&self.sandbox, &self.device.name),
            hook: hook.name().to_owned(),
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
            let message =
                format!("{} was up before it was attached: what it sent until now was not judged", self.device.name);
            Problem::warning("attach", message).hint("attach first, then bring the device up")
        })
    }

    pub(super) fn carry_out(self, node: &mut Node) -> Result<Option<Undo>, Refusal> {
        match self.before.clone() {
            Some(held) if self.is_unchanged() => {
                self.refresh(node, held)?;
                Ok(None)
            }
            Some(held) => {
                let undo = Undo::Update(Box::new(held.clone()));
                self.update(node, held)?;
                Ok(Some(undo))
            }
            None => {
                let id = self.sandbox.id.to_string();
                self.create(node)?;
                Ok(Some(Undo::Create(id)))
            }
        }
    }

    fn create(self, node: &mut Node) -> Result<(), Refusal> {
        let incarnation = node.next_incarnation()?;
        let slot = node.free_slot()?;
        let config = attachment(&node.config, &self.sandbox, &self.device, incarnation);
        let compiled = compile(&self.sandbox.policy, &node.config.operator, 1);
        let record = self.record(slot, incarnation, 1, now());
        let id = self.sandbox.id.to_string();
        if let Err(error) = node.store.prepare(&id, &record) {
            node.give_back(slot);
            return Err(error.into());
        }
        fail_point("attach.prepared");
        let place = Place { slot, netns_inode: record.netns_inode, ifindex: record.ifindex };
        let attached = node
            .protect(&self.sandbox)
            .and_then(|()| node.protect_host(place.netns_inode))
            .inspect(|()| fail_point("attach.protected"))
            .and_then(|()| node.dataplane.attach(place, &self.device, &config, node.config.flows.0, &compiled));
        if let Err(error) = attached {
            node.unprotect(&self.sandbox);
            node.give_back(slot);
            node.store.drop_prepared(&id);
            return Err(error.into());
        }
        node.hold(Held { record, sandbox: self.sandbox.clone(), config, gone: false });
        node.unprotect(&self.sandbox);
        commit(node, &id);
        fail_point("attach.committed");
        Ok(())
    }

    fn update(self, node: &mut Node, held: Held) -> Result<(), Refusal> {
        let Record { slot, incarnation, generation, created, .. } = held.record;
        let config = attachment(&node.config, &self.sandbox, &self.device, incarnation);
        let generation = generation + 1;
        let record = self.record(slot, incarnation, generation, created);
        let id = self.sandbox.id.to_string();
        node.store.prepare(&id, &record)?;
        fail_point("update.prepared");
        let next = Held { record, sandbox: self.sandbox, config, gone: false };
        if let Err(error) = switch(node, next) {
            node.store.drop_prepared(&id);
            return Err(error.into());
        }
        fail_point("update.switched");
        commit(node, &id);
        fail_point("update.committed");
        Ok(())
    }

    /// Follows what changed beside the document: lines, and the gateway's addresses.
    fn refresh(self, node: &mut Node, held: Held) -> Result<(), Refusal> {
        let config = attachment(&node.config, &self.sandbox, &self.device, held.record.incarnation);
        if config != held.config {
            node.dataplane.configure(held.record.slot, &config)?;
        }
        let record = Record { lines: self.given.lines, ..held.record };
        let id = self.sandbox.id.to_string();
        node.store.prepare(&id, &record)?;
        commit(node, &id);
        node.hold(Held { record, sandbox: held.sandbox, config, gone: false });
        Ok(())
    }

    fn record(&self, slot: u32, incarnation: u32, generation: u32, created: u64) -> Record {
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
            created,
            updated: now(),
        }
    }
}

/// Puts `next` in the place of what is enforced and held for the same sandbox: attachment and policy at the same instant.
pub(super) fn switch(node: &mut Node, next: Held) -> Result<(), Error> {
    node.protect(&next.sandbox)?;
    let compiled = compile(&next.sandbox.policy, &node.config.operator, next.record.generation);
    let switched = node.dataplane.update(next.record.slot, &next.config, &compiled);
    let sandbox = next.sandbox.clone();
    if switched.is_ok() {
        node.hold(next);
    }
    node.unprotect(&sandbox);
    switched
}

/// Makes a prepared record current. The kernel enforces it already: should the disk refuse, the next daemon finds the prepared
/// record and the kernel's word that it took effect.
fn commit(node: &Node, id: &str) {
    if let Err(error) = node.store.commit(id) {
        tracing::error!(id, "the policy is in effect, but its record could not be renamed: {error:#}");
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
