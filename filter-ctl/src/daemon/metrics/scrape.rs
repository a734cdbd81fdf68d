//! Reading the node for a scrape, in portions: nobody waits for a reading of all sandboxes.

use crate::api::SidecarStatus;
use crate::daemon::api::Api;
use crate::daemon::node::Node;
use crate::daemon::refusal::Refusal;
use crate::daemon::totals::Reading;
use std::ops::Bound;

/// Sandboxes that are read under one lock.
const AT_ONCE: usize = 32;

/// What the node has told.
pub(super) struct Scrape {
    /// All sandboxes together, those that have ended too.
    pub(super) all: Reading,
    /// Each that is attached by its id, and those that have ended under none; without entries unless the operator wants them.
    pub(super) each: Vec<(String, Reading)>,
    /// Sandboxes that are active, sealed, detached.
    pub(super) states: [usize; 3],
    pub(super) sidecar: Option<SidecarStatus>,
    pub(super) strays: u64,
    pub(super) orphans: usize,
    /// Lines of the log of connections, by what became of them.
    pub(super) connections: [(&'static str, u64); 2],
}

/// Reads everything.
pub(super) async fn scrape(api: &Api) -> Result<Scrape, Refusal> {
    let mut next = Some(String::new());
    while let Some(from) = next {
        next = api.with(move |node| read(node, &from)).await?;
    }
    api.with(finish).await
}

/// Reads some sandboxes, the first of which is the first not before `from`. Tells where to go on.
fn read(node: &mut Node, from: &str) -> Result<Option<String>, Refusal> {
    let mut some = node.sandboxes.range::<str, _>((Bound::Included(from), Bound::Unbounded));
    let readings: Vec<_> = some
        .by_ref()
        .take(AT_ONCE)
        .filter(|(_, held)| !held.gone)
        .map(|(id, held)| Ok((held.key(), id.clone(), node.reading(&held.record)?)))
        .collect::<Result<_, Refusal>>()?;
    let next = some.next().map(|(id, _)| id.clone());
    for (key, id, reading) in readings {
        node.totals.note(key, &id, reading);
    }
    Ok(next)
}

fn finish(node: &mut Node) -> Result<Scrape, Refusal> {
    let mut states = [0; 3];
    for held in node.sandboxes.values() {
        states[if held.gone { 2 } else { usize::from(held.record.sealed) }] += 1;
    }
    let per_sandbox = node.config.metrics.as_ref().is_some_and(|metrics| metrics.per_sandbox);
    let mut each = Vec::new();
    if per_sandbox {
        each.extend(node.totals.live().map(|(id, reading)| (id.to_owned(), reading.clone())));
        each.push((String::new(), node.totals.ended()));
    }
    Ok(Scrape {
        all: node.totals.all().clone(),
        each,
        states,
        sidecar: node.sidecar.status(),
        strays: node.dataplane.strays()?,
        orphans: node.orphans.len(),
        connections: node.connections.counts(),
    })
}
