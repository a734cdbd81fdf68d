//! Sandboxes as the API shows them.

use super::node::{Held, Node};
use super::origin::Origin;
use super::refusal::Refusal;
use crate::api::{Asked, CounterStatus, Denials, SandboxStatus, State};
use filter_core::Reason;
use filter_core::abi::Counter;
use filter_dataplane::Counters;
use filter_policy::{Attach, Sandbox};
use std::collections::BTreeMap;

/// One sandbox.
pub(super) fn one(node: &Node, id: &str) -> Result<SandboxStatus, Refusal> {
    status(node, node.held(id)?)
}

/// All sandboxes, by id.
pub(super) fn all(node: &Node) -> Result<Vec<SandboxStatus>, Refusal> {
    node.sandboxes.values().map(|held| status(node, held)).collect()
}

/// What was denied to one sandbox since a moment, milliseconds since 1970.
pub(super) fn denials(node: &Node, id: &str, since_ms: u64) -> Result<Denials, Refusal> {
    let held = node.held(id)?;
    let counters = if held.gone { None } else { node.dataplane.counters(held.record.slot)? };
    let counted = |counter| counters.as_ref().map_or(0, |counters| counters.get(counter));
    let (denials, dropped) = node.news.denials(held.key(), id, since_ms);
    let (suppressed, lost) = (counted(Counter::EventsSuppressed), counted(Counter::EventsLost));
    Ok(Denials { denials, dropped, suppressed, lost })
}

/// A device as people write it: `veth7`, `veth7@web`.
pub(super) fn device_label(sandbox: &Sandbox, device: &str) -> String {
    match &sandbox.attach {
        Attach::Interface { netns: Some(netns), .. } => format!("{device}@{netns}"),
        _ => device.to_owned(),
    }
}

fn status(node: &Node, held: &Held) -> Result<SandboxStatus, Refusal> {
    let counters = if held.gone { None } else { node.dataplane.counters(held.record.slot)? };
    Ok(SandboxStatus {
        id: held.sandbox.id.to_string(),
        name: held.sandbox.name.clone(),
        state: match (held.gone, held.record.sealed) {
            (true, _) => State::Detached,
            (false, true) => State::Sealed,
            (false, false) => State::Active,
        },
        device: device_label(&held.sandbox, &held.record.device),
        hook: if held.gone && !held.place().is_cgroup() {
            node.dataplane.hook_kind().name()
        } else {
            node.dataplane.hook_name(held.place())
        }
        .to_owned(),
        generation: held.record.generation,
        document: held.record.document.redacted(),
        counters: counters.map(|counters| counted(&counters, &node.refused(held))).unwrap_or_default(),
        denied_resolvers: node.denied_resolvers(held),
        asked: held.record.origin.as_ref().map(asked),
        created: held.record.created,
        updated: held.record.updated,
    })
}

fn asked(origin: &Origin) -> Asked {
    Asked {
        key: origin.owner.clone(),
        template: origin.template.clone(),
        provided: origin.provided,
        ends: origin.ends_at.map(|ms| ms / 1_000),
        metadata: origin.metadata.clone(),
    }
}

fn counted(counters: &Counters, refused: &BTreeMap<u8, u64>) -> CounterStatus {
    let refused = |reason: &Reason| refused.get(&reason.number()).copied().unwrap_or_default();
    let all = |reason: &Reason| counters.packets(*reason) + refused(reason);
    let by_reason = Reason::ALL.iter().map(|reason| (reason.name().to_owned(), all(reason)));
    CounterStatus {
        allowed: counters.allowed(),
        denied: counters.denied(),
        bytes_allowed: counters.get(Counter::BytesAllowed),
        bytes_denied: counters.get(Counter::BytesDenied),
        reasons: by_reason.filter(|(_, packets)| *packets > 0).collect(),
        events_sent: counters.get(Counter::EventsSent),
        events_suppressed: counters.get(Counter::EventsSuppressed),
        events_lost: counters.get(Counter::EventsLost),
        inbound_allowed: counters.get(Counter::InboundAllowed),
        inbound_bytes: counters.get(Counter::InboundBytes),
        rejects_sent: counters.get(Counter::RejectsSent),
        rejects_suppressed: counters.get(Counter::RejectsSuppressed),
    }
}
