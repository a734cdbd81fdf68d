//! One call at a time of those that are the same call, sent again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Whose call it is, and which.
type Name = (Option<String>, String);

/// The calls that are under way; as many as there are clients that wait.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Name, Weak<Turn<()>>>>);

impl Turns {
    /// Waits until nobody else is at the call of this owner with this key.
    pub(super) async fn take(&self, owner: Option<String>, key: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().expect("no panic under the lock");
            turns.retain(|_, turn| turn.strong_count() > 0);
            let entry = turns.entry((owner, key.to_owned())).or_default();
            let turn = entry.upgrade().unwrap_or_default();
            *entry = Arc::downgrade(&turn);
            turn
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn the_same_call_waits_and_nothing_is_kept() {
        let turns = Turns::default();
        let first = turns.take(None, "a").await;
        let others = (turns.take(Some("k".to_owned()), "a").await, turns.take(None, "b").await);
        let again = tokio::time::timeout(Duration::from_millis(20), turns.take(None, "a")).await;
        assert!(again.is_err(), "two are at the same call");
        drop((first, others));
        drop(turns.take(None, "a").await);
        drop(turns.take(None, "c").await);
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
