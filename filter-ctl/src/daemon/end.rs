//! The end of a sandbox.

use super::node::Node;
use super::refusal::Refusal;
use super::status::device_label;
use super::store::Record;
use crate::api::{EndState, Ended};
use filter_core::abi::{SandboxConfig, SandboxFlags};
use filter_dataplane::fail_point;

/// Seals a sandbox: nothing passes its device until that vanishes or is detached. A device made by somebody else outlives its
/// sandbox, and must not become a way out.
pub(super) fn delete(node: &mut Node, id: &str) -> Result<Ended, Refusal> {
    let held = node.held(id)?.clone();
    let device = device_label(&held.sandbox, &held.record.device);
    if held.gone {
        forget(node, id)?;
        return Ok(Ended { id: id.to_owned(), device, state: EndState::Gone });
    }
    let config = SandboxConfig { flags: held.config.flags | SandboxFlags::SEALED, ..held.config };
    let record = Record { sealed: true, updated: super::node::now(), ..held.record.clone() };
    node.store.prepare(id, &record)?;
    fail_point("delete.prepared");
    if let Err(error) = node.dataplane.configure(record.slot, &config) {
        node.store.drop_prepared(id);
        return Err(error.into());
    }
    fail_point("delete.configured");
    node.end_names(record.slot);
    node.hold(super::node::Held { record, config, ..held });
    node.store.commit(id)?;
    fail_point("delete.committed");
    Ok(Ended { id: id.to_owned(), device, state: EndState::Sealed })
}

/// Seals a sandbox; one that the provider has made and that has lost its device stays known until the provider has taken it away.
pub(super) fn seal(node: &mut Node, id: &str) -> Result<(), Refusal> {
    let held = node.held(id)?;
    if !held.gone || !held.is_provided() {
        return delete(node, id).map(drop);
    }
    let record = Record { sealed: true, updated: super::node::now(), ..held.record.clone() };
    node.store.rewrite(id, &record)?;
    if let Some(held) = node.sandboxes.get_mut(id) {
        held.record = record;
    }
    Ok(())
}

/// Forgets a sealed sandbox that the provider has taken away. If its device is there all the same, it stays shut like one that
/// somebody else has made.
pub(super) fn is_gone(node: &mut Node, id: &str) -> Result<(), Refusal> {
    super::reconcile::check(node, id)?;
    let Some(held) = node.sandboxes.get(id).filter(|held| held.is_ending()) else { return Ok(()) };
    if held.gone {
        return forget(node, id);
    }
    tracing::warn!(id, device = held.record.device, "the provider has left its device; it stays shut");
    let mut record = held.record.clone();
    if let Some(origin) = &mut record.origin {
        origin.provided = false;
    }
    node.store.rewrite(id, &record)?;
    if let Some(held) = node.sandboxes.get_mut(id) {
        held.record = record;
    }
    Ok(())
}

/// What is told of the end of a sandbox that the provider takes away; nothing of others.
pub(super) fn provided(held: &super::node::Held) -> Option<Ended> {
    let device = device_label(&held.sandbox, &held.record.device);
    held.is_provided().then(|| Ended { id: held.sandbox.id.to_string(), device, state: EndState::Gone })
}

/// Takes a sandbox off its device, which is not filtered any more.
pub(super) fn detach(node: &mut Node, id: &str) -> Result<Ended, Refusal> {
    if node.held(id)?.is_provided() {
        let message = format!("sandbox \"{id}\" was made by the provider, which takes it away when it ends");
        return Err(Refusal::Conflict { message, hint: Some(format!("filter-ctl delete {id}")) });
    }
    take_off(node, id)
}

/// Takes a sandbox off its device, whoever has made it.
pub(super) fn take_off(node: &mut Node, id: &str) -> Result<Ended, Refusal> {
    let held = node.held(id)?.clone();
    let device = device_label(&held.sandbox, &held.record.device);
    if held.gone {
        forget(node, id)?;
        return Ok(Ended { id: id.to_owned(), device, state: EndState::Gone });
    }
    node.store.prepare(id, &Record { leaving: true, ..held.record.clone() })?;
    fail_point("detach.prepared");
    if let Err(error) = node.detach(&held.record) {
        node.store.drop_prepared(id);
        return Err(error.into());
    }
    forget(node, id)?;
    Ok(Ended { id: id.to_owned(), device, state: EndState::Detached })
}

fn forget(node: &mut Node, id: &str) -> Result<(), Refusal> {
    fail_point("detach.cleared");
    node.let_go(id);
    node.store.remove(id)?;
    fail_point("detach.forgotten");
    Ok(())
}
