//! Making documents true: plan everything, then do it; take back what was done when a later step fails.

use super::node::{Held, Node, now, prefixes};
use super::refusal::Refusal;
use super::status::device_label;
use super::store::Record;
use crate::api::{Applied, ApplyDocument, ApplyReply, ApplyRequest, Change};
use filter_core::abi::SandboxConfig;
use filter_dataplane::{Device, Error, Namespace, Place, netlink};
use filter_policy::{Problem, Sandbox, compile, diff, validate, warnings};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

/// Applies all documents, or none.
pub(super) fn apply(node: &mut Node, request: ApplyRequest) -> Result<ApplyReply, Refusal> {
    let plans = plan(node, request.documents)?;
    let mut results = Vec::with_capacity(plans.len());
    let mut undo: Vec<Undo> = Vec::new();
    for plan in plans {
        let started = Instant::now();
        let mut applied = plan.outcome();
        if !request.dry_run {
            match plan.carry_out(node) {
                Ok(step) => undo.extend(step),
                Err(refusal) => {
                    for step in undo.into_iter().rev() {
                        step.carry_out(node);
                    }
                    return Err(refusal);
                }
            }
        }
        applied.confirmed_ms = started.elapsed().as_secs_f64() * 1_000.0;
        results.push(applied);
    }
    Ok(ApplyReply { results })
}

/// A document that can be applied.
struct Plan {
    given: ApplyDocument,
    sandbox: Sandbox,
    device: Device,
    /// The sandbox with this id on this very device, if there is one.
    before: Option<Held>,
}

/// How to take a step back.
enum Undo {
    Create(String),
    Update(Box<Held>),
}

fn plan(node: &Node, documents: Vec<ApplyDocument>) -> Result<Vec<Plan>, Refusal> {
    if documents.is_empty() {
        return Err(Refusal::Request { message: "no documents".to_owned(), hint: None });
    }
    let mut problems = Vec::new();
    let mut plans: Vec<Plan> = Vec::new();
    for given in documents {
        match check(node, &given, &plans) {
            Ok((sandbox, device, before)) => plans.push(Plan { given, sandbox, device, before }),
            Err(Refusal::Documents(found)) => problems.extend(found),
            Err(other) => return Err(other),
        }
    }
    if problems.is_empty() { Ok(plans) } else { Err(Refusal::Documents(problems)) }
}

/// Whatever could be wrong with a document on this host at this moment.
fn check(node: &Node, given: &ApplyDocument, plans: &[Plan]) -> Result<(Sandbox, Device, Option<Held>), Refusal> {
    let lines = given.lines.as_ref();
    let sandbox = validate(&given.document, lines, &node.config.operator.limits)
        .map_err(|problems| Refusal::Documents(problems.0))?;
    let at = |field: &str, message: String| {
        let problem = Problem::error(field, message);
        match lines {
            Some(lines) => problem.at(&lines.file, lines.line(field)),
            None => problem,
        }
    };
    let refuse = |problem: Problem| Err(Refusal::Documents(vec![problem]));
    if plans.iter().any(|plan| plan.sandbox.id == sandbox.id) {
        return refuse(at("id", format!("\"{}\": another document of this call has the same id", sandbox.id)));
    }
    let device = match Device::find(&sandbox.attach) {
        Ok(device) => device,
        Err(Error::Device(error)) => return refuse(at("attach", error.to_string())),
        Err(Error::Unsupported { missing, hint }) => return refuse(at("attach", missing).hint(hint)),
        Err(error) => return Err(error.into()),
    };
    let here = |place: Place| place.ifindex == device.ifindex && place.netns_inode == device.netns_inode;
    let before = before(node, &sandbox, &device, here)?;
    let taken_by = node
        .sandboxes
        .values()
        .find(|held| !held.gone && here(held.place()) && held.sandbox.id != sandbox.id)
        .map(|held| held.sandbox.id.clone())
        .or_else(|| plans.iter().find(|plan| same_device(&plan.device, &device)).map(|plan| plan.sandbox.id.clone()));
    if let Some(other) = taken_by {
        let problem = at("attach", format!("interface {} already belongs to sandbox \"{other}\"", device.name));
        return refuse(problem.hint(format!("filter-ctl detach {other}, or attach this sandbox elsewhere")));
    }
    if let Some(problem) = overlap(node, &sandbox, &device, plans)? {
        return refuse(match lines {
            Some(lines) => {
                let line = lines.line(&problem.field);
                problem.at(&lines.file, line)
            }
            None => problem,
        });
    }
    Ok((sandbox, device, before))
}

/// The sandbox that an update is about; refuses what is no update.
fn before(
    node: &Node,
    sandbox: &Sandbox,
    device: &Device,
    here: impl Fn(Place) -> bool,
) -> Result<Option<Held>, Refusal> {
    let id = sandbox.id.as_str();
    let Some(held) = node.sandboxes.get(id).filter(|held| !held.gone) else {
        return Ok(None);
    };
    if held.record.sealed {
        return Err(Refusal::Conflict {
            message: format!("sandbox \"{id}\" was deleted and its device {} is sealed", held.record.device),
            hint: Some(format!("filter-ctl detach {id} opens the device; or use another id with another device")),
        });
    }
    if !here(held.place()) {
        return Err(Refusal::Conflict {
            message: format!("sandbox \"{id}\" is attached to {}, not to {}", held.record.device, device.name),
            hint: Some(format!("filter-ctl detach {id} first: {} is not filtered any more then", held.record.device)),
        });
    }
    Ok(Some(held.clone()))
}

fn same_device(one: &Device, other: &Device) -> bool {
    one.ifindex == other.ifindex && one.netns_inode == other.netns_inode
}

/// An address that somebody else in the same namespace has: another sandbox, the host, or the gateway.
fn overlap(node: &Node, sandbox: &Sandbox, device: &Device, plans: &[Plan]) -> Result<Option<Problem>, Refusal> {
    let mine = prefixes(sandbox);
    let meets = |prefix: &IpNet, other: &IpNet| prefix.contains(other) || other.contains(prefix);
    let mut others: Vec<(String, IpNet)> = Vec::new();
    for held in node.sandboxes.values() {
        let elsewhere = held.gone || held.record.netns_inode != device.netns_inode;
        // A document of this very call may give the address up.
        if elsewhere || held.sandbox.id == sandbox.id || plans.iter().any(|plan| plan.sandbox.id == held.sandbox.id) {
            continue;
        }
        others.extend(prefixes(&held.sandbox).into_iter().map(|p| (format!("sandbox \"{}\"", held.sandbox.id), p)));
    }
    for plan in plans.iter().filter(|plan| plan.device.netns_inode == device.netns_inode) {
        others.extend(prefixes(&plan.sandbox).into_iter().map(|p| (format!("sandbox \"{}\"", plan.sandbox.id), p)));
    }
    let namespace = Namespace::find_or_own(device.netns.as_ref())?;
    let host: BTreeSet<IpAddr> = netlink::addresses(&namespace)?.iter().map(|entry| entry.address.addr()).collect();
    others.extend(sandbox.gateway.iter().map(|address| ("the gateway".to_owned(), IpNet::from(*address))));
    others.extend(host.into_iter().map(|address| ("the host".to_owned(), IpNet::from(address))));

    for (index, prefix) in mine.iter().enumerate() {
        if let Some((whose, other)) = others.iter().find(|(_, other)| meets(prefix, other)) {
            let field = format!("addresses[{index}]");
            let message = format!("\"{prefix}\": overlaps {} of {whose}", plain(other));
            return Ok(Some(Problem::error(field, message).hint("every sandbox has addresses of its own")));
        }
    }
    Ok(None)
}

/// A prefix as people write it: a host without its length.
fn plain(prefix: &IpNet) -> String {
    if prefix.prefix_len() == prefix.max_prefix_len() { prefix.addr().to_string() } else { prefix.to_string() }
}

impl Plan {
    /// Whether the document says what is in effect already.
    fn is_unchanged(&self) -> bool {
        self.before.as_ref().is_some_and(|held| held.record.document == self.given.document)
    }

    fn outcome(&self) -> Applied {
        let mut warnings = warnings(&self.sandbox, self.given.lines.as_ref());
        warnings.extend(self.window());
        let mut applied = Applied {
            id: self.sandbox.id.to_string(),
            change: Change::Created,
            device: device_label(&self.sandbox, &self.device.name),
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

    fn carry_out(self, node: &mut Node) -> Result<Option<Undo>, Refusal> {
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
        let (slot, incarnation) = (node.free_slot()?, node.next_incarnation()?);
        let config = node.attachment(&self.sandbox, &self.device, incarnation);
        let compiled = compile(&self.sandbox.policy, &node.config.operator, 1);
        let record = self.record(slot, incarnation, 1, now());
        let id = self.sandbox.id.to_string();
        node.store.prepare(&id, &record)?;
        let place = Place { slot, netns_inode: record.netns_inode, ifindex: record.ifindex };
        let attached = node
            .protect(Some((&self.sandbox, &self.device)))
            .and_then(|()| node.dataplane.attach(place, &self.device, &config, &compiled));
        if let Err(error) = attached {
            node.store.drop_prepared(&id);
            return Err(error.into());
        }
        node.hold(Held { record, sandbox: self.sandbox, config, gone: false });
        Ok(node.store.commit(&id)?)
    }

    fn update(self, node: &mut Node, held: Held) -> Result<(), Refusal> {
        let Record { slot, incarnation, generation, created, .. } = held.record;
        let config = node.attachment(&self.sandbox, &self.device, incarnation);
        let generation = generation + 1;
        let record = self.record(slot, incarnation, generation, created);
        let id = self.sandbox.id.to_string();
        node.store.prepare(&id, &record)?;
        let next = Held { record, sandbox: self.sandbox, config, gone: false };
        if let Err(error) = switch(node, &held.config, &next, Some(&self.device)) {
            node.store.drop_prepared(&id);
            return Err(error.into());
        }
        node.hold(next);
        Ok(node.store.commit(&id)?)
    }

    /// Follows what changed beside the document: lines, and the gateway's addresses.
    fn refresh(self, node: &mut Node, held: Held) -> Result<(), Refusal> {
        let config = node.attachment(&self.sandbox, &self.device, held.record.incarnation);
        if config != held.config {
            node.dataplane.configure(held.record.slot, &config)?;
        }
        let record = Record { lines: self.given.lines, ..held.record };
        let id = self.sandbox.id.to_string();
        node.store.prepare(&id, &record)?;
        node.store.commit(&id)?;
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
            created,
            updated: now(),
        }
    }
}

/// Puts `next` in the place of what the kernel enforces for the same sandbox.
fn switch(node: &mut Node, old: &SandboxConfig, next: &Held, device: Option<&Device>) -> Result<(), Error> {
    let slot = next.record.slot;
    let compiled = compile(&next.sandbox.policy, &node.config.operator, next.record.generation);
    node.protect(device.map(|device| (&next.sandbox, device)))?;
    if next.config != *old {
        node.dataplane.configure(slot, &next.config)?;
    }
    let switched = node.dataplane.switch(slot, &compiled);
    if switched.is_err()
        && next.config != *old
        && let Err(error) = node.dataplane.configure(slot, old)
    {
        tracing::error!(%error, id = %next.sandbox.id, "cannot restore the attachment of a sandbox whose update failed");
    }
    switched
}

impl Undo {
    /// Takes a step back; what cannot be taken back is told, and the sandbox stays enforced.
    fn carry_out(self, node: &mut Node) {
        let (id, undone) = match self {
            Undo::Create(id) => {
                let undone = super::end::detach(node, &id).map(drop);
                (id, undone)
            }
            Undo::Update(held) => {
                let id = held.sandbox.id.to_string();
                let now = node.sandboxes.get(&id).map_or(held.config, |current| current.config);
                let undone = node
                    .store
                    .prepare(&id, &held.record)
                    .map_err(Refusal::from)
                    .and_then(|()| Ok(switch(node, &now, &held, None)?))
                    .and_then(|()| Ok(node.store.commit(&id)?));
                node.hold(*held);
                (id, undone)
            }
        };
        if let Err(refusal) = undone {
            tracing::error!(id, message = refusal.reply().message, "cannot take back a part of an apply that failed");
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
