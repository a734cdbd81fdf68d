//! Making documents true: plan everything, then do it; take back what was done when a later step fails.

mod check;
mod plan;

use super::node::{Held, Node};
use super::refusal::Refusal;
use crate::api::{ApplyDocument, ApplyReply, ApplyRequest};
use filter_dataplane::Device;
use filter_policy::Sandbox;
use std::collections::BTreeSet;
use std::time::Instant;

/// Applies all documents, or none.
pub(super) fn apply(node: &mut Node, request: ApplyRequest) -> Result<ApplyReply, Refusal> {
    // What somebody changed on the host before this call counts.
    node.catch_up()?;
    let mut followed = BTreeSet::new();
    let applied =
        plan(node, request.documents, &mut followed).and_then(|plans| carry_out(node, plans, request.dry_run));
    followed.into_iter().for_each(|inode| node.unfollow_if_empty(inode));
    applied
}

fn carry_out(node: &mut Node, plans: Vec<Plan>, dry_run: bool) -> Result<ApplyReply, Refusal> {
    let mut results = Vec::with_capacity(plans.len());
    let mut undo: Vec<Undo> = Vec::new();
    for plan in plans {
        let started = Instant::now();
        let mut applied = plan.outcome(node);
        if !dry_run {
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

/// Checks all documents; `followed` takes the namespaces that their devices are in.
fn plan(node: &mut Node, documents: Vec<ApplyDocument>, followed: &mut BTreeSet<u64>) -> Result<Vec<Plan>, Refusal> {
    if documents.is_empty() {
        return Err(Refusal::Request { message: "no documents".to_owned(), hint: None });
    }
    let mut problems = Vec::new();
    let mut plans: Vec<Plan> = Vec::new();
    for given in documents {
        match check::check(node, &given, &plans, followed) {
            Ok((sandbox, device, before)) => plans.push(Plan { given, sandbox, device, before }),
            Err(Refusal::Documents(found)) => problems.extend(found),
            Err(other) => return Err(other),
        }
    }
    if problems.is_empty() { Ok(plans) } else { Err(Refusal::Documents(problems)) }
}

impl Undo {
    /// Takes a step back; what cannot be taken back is told, and the sandbox stays enforced.
    fn carry_out(self, node: &mut Node) {
        let (id, undone) = match self {
            Undo::Create(id) => {
                let undone = super::end::detach(node, &id).map(drop);
                (id, undone)
            }
            Undo::Update(held) => (held.sandbox.id.to_string(), restore(node, *held)),
        };
        if let Err(refusal) = undone {
            tracing::error!(id, message = refusal.reply().message, "cannot take back a part of an apply that failed");
        }
    }
}

/// Puts back what a sandbox was, as a new generation: generations never go back.
fn restore(node: &mut Node, mut held: Held) -> Result<(), Refusal> {
    let id = held.sandbox.id.to_string();
    let Some(current) = node.sandboxes.get(&id).cloned() else {
        return Err(Refusal::Unknown(id));
    };
    held.record.generation = current.record.generation + 1;
    node.store.prepare(&id, &held.record)?;
    plan::switch(node, held)?;
    Ok(node.store.commit(&id)?)
}
