//! Taking back what was done for a call of which another document came to nothing.

use super::job::{Job, Work};
use crate::daemon::node::{Held, Node};
use crate::daemon::refusal::Refusal;
use filter_dataplane::Error;
use filter_policy::compile;

/// Takes a document's part back; what cannot be taken back is told, and the sandbox stays enforced.
pub(super) fn take_back(node: &mut Node, job: &Job) {
    let undone = match (&job.plan.before, job.work) {
        (None, _) => crate::daemon::end::take_off(node, job.id()).map(drop),
        (Some(_), Work::Refresh) => Ok(()),
        (Some(held), _) => restore(node, held.clone()),
    };
    if let Err(refusal) = undone {
        let (id, message) = (job.id(), refusal.reply().message);
        tracing::error!(id, message, "cannot take back a part of an apply that failed");
    }
}

/// Puts back what a sandbox was, as a new generation: generations never go back.
fn restore(node: &mut Node, mut held: Held) -> Result<(), Refusal> {
    let id = held.sandbox.id.to_string();
    let Some(current) = node.sandboxes.get(&id) else {
        return Err(Refusal::Unknown(id));
    };
    held.record.generation = current.record.generation + 1;
    node.store.prepare(&id, &held.record)?;
    if let Err(error) = switch(node, held) {
        node.store.drop_prepared(&id);
        return Err(error.into());
    }
    Ok(node.store.commit(&id)?)
}

/// Puts `next` in the place of what is enforced and held for the same sandbox.
fn switch(node: &mut Node, next: Held) -> Result<(), Error> {
    let compiled = compile(&next.sandbox.policy, &node.config.operator, next.record.generation);
    let sandbox = next.sandbox.clone();
    let slot = next.record.slot;
    if let Err(error) = node.prepare_names(&next.record, &next.config, &sandbox) {
        tracing::error!(id = %sandbox.id, "its names: {error:#}");
    }
    let switched = node
        .protect(&sandbox)
        .and_then(|()| node.dataplane.update(next.record.slot, &next.config, &compiled))
        .map(|()| node.hold(next));
    node.unprotect(&sandbox);
    if let Err(error) = node.sidecar.commit(slot) {
        tracing::error!(id = %sandbox.id, "its names: {error:#}");
    }
    switched
}
