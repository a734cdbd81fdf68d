//! Keeps the addresses of a policy's names at hand, so that connections need not wait for a resolver.

use crate::resolve::Names;
use filter_policy::names::Name;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep_until;

/// Most names of a policy that are kept at hand; others are asked for when they are wanted.
pub(crate) const MOST: usize = 64;
/// So long before they end to hold, addresses are asked for again.
const AHEAD: Duration = Duration::from_secs(2);
/// Resolvers are asked for the same name no more often than this.
const LEAST: Duration = Duration::from_secs(30);

/// Asks for names, and again before what was answered ends to hold, for as long as it is let.
pub(crate) async fn keep(names: Arc<Names>, wanted: Vec<Name>) {
    let now = Instant::now();
    let mut turns: Vec<(Instant, Name)> = wanted.into_iter().map(|name| (now, name)).collect();
    while let Some((turn, name)) = turns.iter_mut().min_by_key(|(turn, _)| *turn) {
        sleep_until((*turn).into()).await;
        match names.holds_until(name) {
            Some(_) => names.refresh(name).await,
            // Connections may want it already: it is asked for once.
            None => drop(names.find(name).await),
        }
        let now = Instant::now();
        let again = names.holds_until(name).and_then(|until| until.checked_sub(AHEAD));
        *turn = again.unwrap_or(now).max(now + LEAST);
    }
}
