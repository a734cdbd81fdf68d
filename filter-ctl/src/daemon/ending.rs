//! The end of sandboxes that the provider has made, and of what it has made for nobody: tried until it works.

use super::api::Api;
use super::end;
use super::node::Node;
use super::origin::Caller;
use super::providing::{forget, with_provider};
use super::refusal::Refusal;
use filter_dataplane::fail_point;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// After so long what the provider could not take away is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// Sandboxes that the provider takes away at a time; others wait. A slow provider leaves threads for all else.
const AT_ONCE: usize = 16;

/// What is being taken away.
pub(super) struct Ending {
    permits: Semaphore,
    /// What is being taken away, and what could not be: when to try again.
    tried: Mutex<HashMap<String, Option<Instant>>>,
    /// What nobody has heard of, and is to be taken away.
    leftovers: Mutex<BTreeSet<String>>,
}

impl Default for Ending {
    fn default() -> Ending {
        Ending { permits: Semaphore::new(AT_ONCE), tried: Mutex::default(), leftovers: Mutex::default() }
    }
}

impl Ending {
    /// What the provider has made of a sandbox is to be taken away.
    pub(super) fn nobody_has_heard_of(&self, id: &str) {
        self.leftovers().insert(id.to_owned());
    }

    fn leftovers(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.leftovers.lock().expect("no panic under the lock")
    }

    fn tried(&self) -> MutexGuard<'_, HashMap<String, Option<Instant>>> {
        self.tried.lock().expect("no panic under the lock")
    }

    /// Takes note that somebody is taking a sandbox away, unless somebody is already.
    fn begin(&self, id: &str) -> bool {
        let mut tried = self.tried();
        match tried.get(id) {
            None => {}
            Some(Some(again)) if *again <= Instant::now() => {}
            Some(_) => return false,
        }
        tried.insert(id.to_owned(), None);
        true
    }

    fn ended(&self, id: &str, is_done: bool) {
        let mut tried = self.tried();
        if is_done {
            tried.remove(id);
        } else {
            tried.insert(id.to_owned(), Some(Instant::now() + AGAIN));
        }
    }
}

/// Takes away what nobody has heard of; what cannot be is tried again.
pub(super) async fn sweep(api: &Api, id: &str) {
    if !api.providing.ending.begin(id) {
        return;
    }
    let swept = take_back(api, id).await;
    api.providing.ending.ended(id, swept.is_ok());
    match swept {
        Ok(()) => {
            api.providing.ending.leftovers().remove(id);
        }
        Err(refusal) => {
            let message = refusal.reply().message;
            tracing::error!(id, "what the provider has made cannot be taken away: {message}; trying again");
        }
    }
}

/// Takes away what became of a call that failed.
async fn take_back(api: &Api, id: &str) -> Result<(), Refusal> {
    let sealed = id.to_owned();
    api.with(move |node| if node.held(&sealed).is_ok() { end::seal(node, &sealed) } else { Ok(()) }).await?;
    destroy(api, id).await?;
    forget(api, id).await
}

/// Ends a sandbox: seals what somebody else has made, and takes away what the provider has made.
pub(super) async fn end(api: &Api, caller: Caller, id: String) -> Result<(), Refusal> {
    let api = api.clone();
    let ended = tokio::spawn(async move {
        let (sealed, providing) = (id.clone(), api.providing.clone());
        let is_mine = api
            .with(move |node| {
                let is_provided = node.seen_by(&caller, &sealed)?.is_provided();
                end::seal(node, &sealed)?;
                // While nobody else sees that it is sealed: whoever is answered is answered when it is gone.
                Ok(is_provided && providing.ending.begin(&sealed))
            })
            .await?;
        fail_point("end.sealed");
        if is_mine {
            let destroyed = destroy(&api, &id).await;
            api.providing.ending.ended(&id, destroyed.is_ok());
            return destroyed;
        }
        Ok(())
    });
    ended.await.map_err(Refusal::internal)?
}

/// Has the provider take away a sandbox that is sealed, and forgets it.
async fn destroy(api: &Api, id: &str) -> Result<(), Refusal> {
    let _permit = api.providing.ending.permits.acquire().await.map_err(Refusal::internal)?;
    let gone = id.to_owned();
    with_provider(api, move |provider| provider.destroy(&gone)).await?;
    fail_point("end.destroyed");
    let gone = id.to_owned();
    api.with(move |node| end::is_gone(node, &gone)).await?;
    fail_point("end.gone");
    Ok(())
}

/// Goes on with what could not be ended, or was being ended by an earlier daemon.
pub(super) async fn go_on(api: &Api) {
    let leftovers = api.providing.ending.leftovers().clone();
    for id in leftovers {
        let api = api.clone();
        tokio::spawn(async move { sweep(&api, &id).await });
    }
    let ending = |node: &mut Node| {
        let ids = node.sandboxes.iter().filter(|(_, held)| held.is_ending());
        Ok(ids.map(|(id, _)| id.clone()).collect::<Vec<_>>())
    };
    for id in api.with(ending).await.unwrap_or_default() {
        if api.providing.ending.begin(&id) {
            let api = api.clone();
            tokio::spawn(async move {
                let destroyed = destroy(&api, &id).await;
                api.providing.ending.ended(&id, destroyed.is_ok());
                if let Err(refusal) = destroyed {
                    tracing::error!(id, "it cannot be taken away: {}; trying again", refusal.reply().message);
                }
            });
        }
    }
}
