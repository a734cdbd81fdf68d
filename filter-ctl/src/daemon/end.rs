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

/// Takes a sandbox off its device, which is not filtered any more.
pub(super) fn detach(node: &mut Node, id: &str) -> Result<Ended, Refusal> {
    let held = node.held(id)?.clone();
    let device = device_label(&held.sandbox, &held.record.device);
    if held.gone {
        forget(node, id)?;
        return Ok(Ended { id: id.to_owned(), device, state: EndState::Gone });
    }
    node.store.prepare(id, &Record { leaving: true, ..held.record.clone() })?;
    fail_point("detach.prepared");
    if let Err(error) = node.dataplane.detach(held.place()) {
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
