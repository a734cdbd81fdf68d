//! Looking, again and again: at what the kernel tells, at what sends no notice, at links, and at the sidecar.

use super::node::{Held, Node};
use super::privileged;
use super::reconcile::{check, give_names, lacking, sweep};
use filter_dataplane::{LinkWatch, Watcher};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior, sleep, sleep_until};

/// Between looks at what sends no notice: pins, flows.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between looks at links alone, which cost next to nothing.
const GLANCE: Duration = Duration::from_millis(50);
/// Between looks at the sidecar.
const BEAT: Duration = Duration::from_millis(150);
/// Sandboxes that are looked at under one lock.
const AT_ONCE: usize = 16;
/// For notices that come together.
const SETTLE: Duration = Duration::from_millis(20);

/// Follows what the kernel tells of devices and addresses, and looks every second at what sends no notice. Sandboxes whose connections
/// find no room get a flow table if they have none.
pub(super) async fn watch(node: Arc<Mutex<Node>>, mut notices: Watcher, mut unfollowed: Receiver<u32>) {
    let (mut next, mut due) = (None::<String>, Instant::now());
    loop {
        tokio::select! {
            heard = notices.heard() => {
                if let Err(error) = heard {
                    tracing::error!(%error, "no notices of the kernel; looking every second only");
                    sleep_until(due).await;
                }
                sleep(SETTLE).await;
                with(&node, |node| Ok(node.catch_up()?)).await;
            }
            Some(slot) = unfollowed.recv() => {
                with(&node, move |node| follow(node, slot)).await;
            }
            () = sleep_until(due) => {
                if next.is_none() {
                    with(&node, look_at_all).await;
                }
                let from = next.take().unwrap_or_default();
                let looked = with(&node, move |node| Ok(look(node, &from))).await;
                let (then, pause) = looked.unwrap_or((None, INTERVAL));
                (next, due) = (then, Instant::now() + pause);
            }
        }
    }
}

fn follow(node: &mut Node, slot: u32) -> anyhow::Result<()> {
    if node.dataplane.state(slot)?.is_some() {
        node.dataplane.follow(slot)?;
    }
    Ok(())
}

async fn with<T: Send + 'static>(
    node: &Arc<Mutex<Node>>,
    work: impl FnOnce(&mut Node) -> anyhow::Result<T> + Send + 'static,
) -> Option<T> {
    let node = node.clone();
    let worked = tokio::task::spawn_blocking(move || work(&mut node.lock().expect("no panic under the lock"))).await;
    match worked {
        Ok(Ok(result)) => return Some(result),
        Ok(Err(error)) => tracing::error!("{error:#}"),
        Err(error) => tracing::error!(%error, "the reconciler failed"),
    }
    None
}

/// Looks at what is not one sandbox's.
fn look_at_all(node: &mut Node) -> anyhow::Result<()> {
    let caught_up = node.catch_up();
    node.dataplane.tidy();
    // What cannot be mended keeps nothing else from it.
    let pins = node.dataplane.mend_pins();
    let bridges = node.mend_bridges();
    let routes = node.mend_routes();
    let flushed = node.store.flush_older(INTERVAL);
    caught_up.and(pins).and(bridges).and(routes)?;
    flushed
}

/// Looks at the links and flows of a few sandboxes, the first of which is the first not before `from`. Tells where to go on, and after
/// how long: all are looked at within [`INTERVAL`], and nobody waits for a look at all of them.
fn look(node: &mut Node, from: &str) -> (Option<String>, Duration) {
    let ids = node.sandboxes.range::<str, _>((Bound::Included(from), Bound::Unbounded));
    let mut ids: Vec<String> = ids.take(AT_ONCE + 1).map(|(id, _)| id.clone()).collect();
    let next = ids.split_off(AT_ONCE.min(ids.len())).pop();
    for id in ids {
        if let Err(error) = check(node, &id).and_then(|()| sweep(node, &id)) {
            tracing::error!(id, "cannot look at its device: {error:#}");
        }
        privileged::watch(node, &id);
    }
    if next.is_none() {
        node.looked = Some(std::time::Instant::now());
    }
    let looks = node.sandboxes.len().div_ceil(AT_ONCE).max(1);
    (next, INTERVAL / u32::try_from(looks).unwrap_or(u32::MAX))
}

/// Looks at the links all the time, without the node: one that somebody has detached filters nothing.
pub(super) async fn watch_links(node: Arc<Mutex<Node>>, links: LinkWatch) {
    let mut beat = tokio::time::interval(GLANCE);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let slots = |links: &LinkWatch| links.torn().into_iter().map(|place| place.slot).collect::<BTreeSet<u32>>();
    let mut known = BTreeSet::new();
    loop {
        beat.tick().await;
        let torn = slots(&links);
        // What could not be mended is tried again by the look around.
        if torn.is_subset(&known) {
            known = torn;
            continue;
        }
        with(&node, move |node| {
            let of_torn = |held: &&Held| !held.gone && torn.contains(&held.record.slot);
            let ids: Vec<String> =
                node.sandboxes.values().filter(of_torn).map(|held| held.sandbox.id.to_string()).collect();
            // Devices that are not filtered come first, and none of them keeps another waiting.
            let checked: Vec<_> = ids.iter().map(|id| check(node, id)).collect();
            node.dataplane.mend_pins()?;
            node.mend_bridges()?;
            checked.into_iter().collect::<anyhow::Result<()>>()
        })
        .await;
        known = slots(&links);
    }
}

/// Makes sure, again and again, that the sidecar answers; replaces one that does not or has ended.
pub(super) async fn keep_sidecar(node: Arc<Mutex<Node>>, ended: Arc<Notify>) {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! { () = ended.notified() => {}, _ = beat.tick() => {} }
        with(&node, |node| {
            if node.sidecar.look() {
                revive(node);
            }
            Ok(())
        })
        .await;
    }
}

/// Gives a new sidecar all that the last one had.
fn revive(node: &mut Node) {
    for held in lacking(node).cloned().collect::<Vec<_>>() {
        give_names(node, &held);
        if !node.sidecar.runs() {
            return;
        }
    }
}
