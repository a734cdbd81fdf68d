//! Whether the daemon can do its work now: keep what it accepts, see what happens, and enforce what holds.

use crate::daemon::api::Api;
use crate::daemon::node::Node;
use crate::daemon::reconcile;
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// After so long without a whole look, nobody mends anything.
const BLIND: Duration = Duration::from_secs(5);
/// After so long nobody else gets the node either.
const BUSY: Duration = Duration::from_secs(2);
/// How long it is believed that the disk takes what is written.
const WRITABLE: Duration = Duration::from_secs(1);
/// Sandboxes that are named; more are counted.
const NAMED: usize = 10;

/// Whether it is ready, and why not.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    why: Vec<Why>,
}

#[derive(Debug, Serialize)]
struct Why {
    /// What fails: `starting`, `busy`, `store`, `reconciler`, `attachment` or `sidecar`.
    what: &'static str,
    message: String,
}

impl Readiness {
    /// It has not taken over yet what there is.
    pub(super) fn starting() -> Readiness {
        Readiness::because(vec![Why { what: "starting", message: "the daemon is starting".to_owned() }])
    }

    fn because(why: Vec<Why>) -> Readiness {
        Readiness { ready: why.is_empty(), why }
    }
}

/// Looks at everything.
pub(super) async fn readiness(api: &Api) -> Readiness {
    let looked = timeout(BUSY, api.with(|node| Ok(look(node, Instant::now())))).await;
    Readiness::because(match looked {
        Ok(Ok(why)) => why,
        Ok(Err(refusal)) => vec![Why { what: "busy", message: refusal.reply().message }],
        Err(_) => {
            let message = format!("nothing else was done for {} s: one change takes so long", BUSY.as_secs());
            vec![Why { what: "busy", message }]
        }
    })
}

fn look(node: &mut Node, now: Instant) -> Vec<Why> {
    let mut why = Vec::new();
    if node.probed.is_none_or(|probed| now.duration_since(probed) >= WRITABLE) {
        match node.store.probe() {
            Ok(()) => node.probed = Some(now),
            Err(error) => {
                node.probed = None;
                why.push(Why { what: "store", message: format!("{error:#}") });
            }
        }
    }
    why.extend(blind(node.looked, now));
    if !node.troubles.is_empty() {
        let some: Vec<_> = node.troubles.iter().take(NAMED).map(|(id, why)| format!("{id}: {why}")).collect();
        why.push(Why { what: "attachment", message: counted(node.troubles.len(), &some) });
    }
    let lacking: Vec<String> = reconcile::lacking(node).map(|held| held.sandbox.id.to_string()).collect();
    if !lacking.is_empty() {
        let message = format!("names are refused: {}", counted(lacking.len(), &lacking[..lacking.len().min(NAMED)]));
        why.push(Why { what: "sidecar", message });
    }
    why
}

/// Whether the reconciler has not looked for too long.
fn blind(looked: Option<Instant>, now: Instant) -> Option<Why> {
    let message = match looked.map(|at| now.duration_since(at)) {
        Some(age) if age < BLIND => return None,
        Some(age) => format!("nobody has looked at the devices for {} s", age.as_secs()),
        None => "nobody has looked at the devices yet".to_owned(),
    };
    Some(Why { what: "reconciler", message })
}

fn counted(all: usize, some: &[String]) -> String {
    let more = all - some.len();
    let tail = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{tail}", some.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reconciler_that_stands_still_is_told() {
        let now = Instant::now();
        assert!(blind(Some(now), now + Duration::from_millis(4_999)).is_none());
        let told = blind(Some(now), now + BLIND).unwrap();
        assert_eq!((told.what, told.message.as_str()), ("reconciler", "nobody has looked at the devices for 5 s"));
        assert!(blind(None, now).is_some());
    }

    #[test]
    fn the_answer_has_a_bound() {
        let ids: Vec<String> = (0..NAMED).map(|n| format!("s{n}")).collect();
        assert!(counted(1_000, &ids).ends_with("s9, and 990 more"));
        assert_eq!(counted(2, &ids[..2]), "s0, s1");
        let text = serde_json::to_string(&Readiness::starting()).unwrap();
        assert_eq!(text, r#"{"ready":false,"why":[{"what":"starting","message":"the daemon is starting"}]}"#);
    }
}
