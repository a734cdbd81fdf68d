//! How long sandboxes live: those that the provider has made end at their time, and others where the create call says so.

use super::api::Api;
use super::ending;
use super::node::Node;
use super::origin::{Caller, Origin};
use super::refusal::Refusal;
use filter_dataplane::fail_point;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::MissedTickBehavior;

/// Between looks at who is to end.
const INTERVAL: Duration = Duration::from_millis(200);

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// When what begins now ends, milliseconds since 1970.
pub(super) fn after(seconds: u32) -> u64 {
    now_ms() + u64::from(seconds) * 1_000
}

/// Lets a sandbox live for so many seconds from now on. One that does not end by itself is left as it is.
pub(super) fn set(node: &mut Node, caller: &Caller, id: &str, seconds: u32) -> Result<(), Refusal> {
    change(node, caller, id, |_| after(seconds))
}

/// Lets a sandbox live for so many seconds at least.
pub(super) fn extend(node: &mut Node, caller: &Caller, id: &str, seconds: u32) -> Result<(), Refusal> {
    change(node, caller, id, |ends_at| ends_at.max(after(seconds)))
}

fn change(node: &mut Node, caller: &Caller, id: &str, to: impl FnOnce(u64) -> u64) -> Result<(), Refusal> {
    let mut record = node.seen_by(caller, id)?.record.clone();
    let Some(Origin { ends_at: Some(ends_at), .. }) = &mut record.origin else { return Ok(()) };
    *ends_at = to(*ends_at);
    node.store.rewrite(id, &record)?;
    fail_point("timeout.rewritten");
    if let Some(held) = node.sandboxes.get_mut(id) {
        held.record = record;
    }
    Ok(())
}

/// Ends, again and again, those whose time has come.
pub(super) async fn watch(api: Api) {
    let mut beat = tokio::time::interval(INTERVAL);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        ending::go_on(&api).await;
        let due = api.with(|node| Ok(due(node))).await.unwrap_or_default();
        for id in due {
            let api = api.clone();
            tokio::spawn(async move {
                tracing::info!(id, "its time has come");
                match ending::end(&api, Caller::Operator, id.clone()).await {
                    // Somebody else is at it, or was.
                    Ok(()) | Err(Refusal::Unknown(_) | Refusal::Ending(_)) => {}
                    Err(refusal) => tracing::error!(id, "cannot end it: {}; trying again", refusal.reply().message),
                }
            });
        }
    }
}

fn due(node: &Node) -> Vec<String> {
    let now = now_ms();
    let is_due = |origin: &Origin| origin.ends_at.is_some_and(|ends_at| ends_at <= now);
    let ids = node
        .sandboxes
        .iter()
        .filter(|(_, held)| !held.record.sealed && held.record.origin.as_ref().is_some_and(is_due));
    ids.map(|(id, _)| id.clone()).collect()
}
