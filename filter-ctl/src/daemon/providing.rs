//! Sandboxes from their first moment to their last: asked for of the provider, filtered, started, and taken away again.
//!
//! What the provider is asked for is written down first, so that nothing of it outlives a daemon that dies in the middle: what its caller
//! never heard of is taken away by the next one.

use super::api::Api;
use super::apply::Call;
use super::end;
use super::keys::random;
use super::node::Node;
use super::origin::{Caller, Origin};
use super::refusal::Refusal;
use super::store::{Record, Table};
use filter_policy::{Document, Network};
use filter_provider::{Ask, Made, Provider};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Sandboxes that the provider is asked for at a time; others wait.
const AT_ONCE: usize = 16;
/// After so long what the provider could not take away is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// A kind of sandbox, in the operator's words.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Template {
    /// Processors, as clients are told.
    pub(super) cpu_count: u32,
    /// Memory in MiB, as clients are told.
    #[serde(rename = "memoryMB")]
    pub(super) memory_mb: u32,
    /// Disk in MiB, as clients are told.
    #[serde(rename = "diskSizeMB")]
    pub(super) disk_size_mb: u32,
    /// What the provider is told of it.
    pub(super) settings: Value,
}

impl Default for Template {
    fn default() -> Template {
        Template { cpu_count: 1, memory_mb: 512, disk_size_mb: 1_024, settings: Value::Null }
    }
}

/// What makes sandboxes, and what of it is under way.
pub(super) struct Providing {
    provider: Option<Provider>,
    templates: BTreeMap<String, Template>,
    permits: Semaphore,
    /// What is being taken away, and what could not be: when to try again.
    ending: Mutex<HashMap<String, Option<Instant>>>,
    /// What nobody has heard of, and is to be taken away.
    leftovers: Mutex<BTreeSet<String>>,
}

/// Where a sandbox is to be.
pub(super) enum Place {
    /// Where its document says.
    Given(Box<Document>),
    /// Where the provider puts it.
    Provided {
        /// Its id.
        id: String,
        /// What it may reach.
        network: Box<Network>,
        /// The call, as it came.
        body: Value,
    },
}

/// A sandbox that the provider is being asked for.
#[derive(Serialize, Deserialize)]
struct Making {}

/// An id that no sandbox has had.
pub(super) fn new_id() -> anyhow::Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";
    let letters = random::<19>()?.map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    Ok(std::iter::once('i').chain(letters).collect())
}

impl Providing {
    /// Whether there is a provider.
    pub(super) fn is_there(&self) -> bool {
        self.provider.is_some()
    }

    /// With this provider and these templates. Without any templates there is one, `base`.
    pub(super) fn new(provider: Option<Provider>, mut templates: BTreeMap<String, Template>) -> Providing {
        if templates.is_empty() {
            templates.insert("base".to_owned(), Template::default());
        }
        let (permits, ending, leftovers) = (Semaphore::new(AT_ONCE), Mutex::default(), Mutex::default());
        Providing { provider, templates, permits, ending, leftovers }
    }

    /// What is known of a template.
    pub(super) fn template(&self, name: &str) -> Option<Template> {
        self.templates.get(name).cloned()
    }

    fn provider(&self) -> Result<&Provider, Refusal> {
        self.provider.as_ref().ok_or_else(|| Refusal::Unavailable {
            message: "no provider makes sandboxes on this host".to_owned(),
            hint: Some("the operator configures one (provider), or says where the sandbox is attached".to_owned()),
        })
    }

    fn leftovers(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.leftovers.lock().expect("no panic under the lock")
    }

    /// Takes note that somebody is taking a sandbox away, unless somebody is already.
    fn begin_end(&self, id: &str) -> bool {
        let mut ending = self.ending.lock().expect("no panic under the lock");
        match ending.get(id) {
            None => {}
            Some(Some(again)) if *again <= Instant::now() => {}
            Some(_) => return false,
        }
        ending.insert(id.to_owned(), None);
        true
    }

    fn ended(&self, id: &str, is_done: bool) {
        let mut ending = self.ending.lock().expect("no panic under the lock");
        if is_done {
            ending.remove(id);
        } else {
            ending.insert(id.to_owned(), Some(Instant::now() + AGAIN));
        }
    }
}

/// Creates a sandbox. What is begun is done, also when nobody waits for it any more.
pub(super) async fn create(api: &Api, origin: Origin, place: Place) -> Result<Record, Refusal> {
    let api = api.clone();
    let created = tokio::spawn(async move {
        match place {
            Place::Given(document) => filter(&api, *document, origin).await,
            Place::Provided { id, network, body } => provide(&api, id, *network, body, origin).await,
        }
    });
    created.await.map_err(Refusal::internal)?
}

/// Puts the filter on a sandbox.
async fn filter(api: &Api, document: Document, origin: Origin) -> Result<Record, Refusal> {
    let id = document.id.clone();
    let call = Call::Create { document: Box::new(document), origin: Box::new(origin) };
    api.applies.carry_out(&api.node, call).await?;
    api.with(move |node| node.held(&id).map(|held| held.record.clone())).await
}

async fn provide(api: &Api, id: String, network: Network, body: Value, origin: Origin) -> Result<Record, Refusal> {
    let providing = &api.providing;
    providing.provider()?;
    let template = providing.template(&origin.template).ok_or_else(|| Refusal::Missing {
        message: format!("template {:?} doesn't exist", origin.template),
        hint: Some("the operator names templates in the configuration (templates)".to_owned()),
    })?;
    let _permit = providing.permits.acquire().await.map_err(Refusal::internal)?;
    let noted = id.clone();
    api.with(move |node| Ok(node.store.put(Table::Making, &noted, &Making {})?)).await?;
    let ask = Ask { id: id.clone(), template: origin.template.clone(), settings: template.settings, body };
    let made = match with_provider(api, move |provider| provider.create(&ask)).await {
        Ok(made) => made,
        Err(refusal) => {
            forget(api, &id).await?;
            return Err(refusal);
        }
    };
    let started = match filter(api, document(&id, &made, network), origin).await {
        Ok(record) => {
            let id = id.clone();
            with_provider(api, move |provider| provider.start(&id, &made)).await.map(|()| record)
        }
        Err(refusal) => Err(refusal),
    };
    match started {
        Ok(record) => {
            forget(api, &id).await?;
            Ok(record)
        }
        Err(refusal) => {
            providing.leftovers().insert(id.clone());
            sweep(api, &id).await;
            Err(refusal)
        }
    }
}

/// What the provider made, as a document.
fn document(id: &str, made: &Made, network: Network) -> Document {
    let Made { attach, addresses, mac, gateway, dhcp, inbound_from, on_deny, .. } = made.clone();
    let (version, id, name) = (1, id.to_owned(), None);
    Document { version, id, name, attach, addresses, mac, gateway, dhcp, inbound_from, on_deny, network }
}

/// Takes away what nobody has heard of; what cannot be is tried again.
async fn sweep(api: &Api, id: &str) {
    if !api.providing.begin_end(id) {
        return;
    }
    let swept = take_back(api, id).await;
    api.providing.ended(id, swept.is_ok());
    match swept {
        Ok(()) => {
            api.providing.leftovers().remove(id);
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

/// Forgets that the provider was asked for a sandbox.
async fn forget(api: &Api, id: &str) -> Result<(), Refusal> {
    let id = id.to_owned();
    api.with(move |node| Ok(node.store.take(Table::Making, &id).map(drop)?)).await
}

/// Ends a sandbox: seals what somebody else has made, and takes away what the provider has made.
pub(super) async fn end(api: &Api, caller: Caller, id: String) -> Result<(), Refusal> {
    let api = api.clone();
    let ended = tokio::spawn(async move {
        let sealed = id.clone();
        let is_provided = api
            .with(move |node| {
                let is_provided = node.seen_by(&caller, &sealed)?.is_provided();
                end::seal(node, &sealed).map(|_| is_provided)
            })
            .await?;
        if is_provided && api.providing.begin_end(&id) {
            let destroyed = destroy(&api, &id).await;
            api.providing.ended(&id, destroyed.is_ok());
            return destroyed;
        }
        Ok(())
    });
    ended.await.map_err(Refusal::internal)?
}

/// Has the provider take away a sandbox that is sealed, and forgets it.
async fn destroy(api: &Api, id: &str) -> Result<(), Refusal> {
    let gone = id.to_owned();
    with_provider(api, move |provider| provider.destroy(&gone)).await?;
    let gone = id.to_owned();
    api.with(move |node| end::is_gone(node, &gone)).await
}

/// Goes on with what could not be ended, or was being ended by an earlier daemon.
pub(super) async fn go_on(api: &Api) {
    let leftovers = api.providing.leftovers().clone();
    for id in leftovers {
        sweep(api, &id).await;
    }
    let ending = |node: &mut Node| {
        let ids = node.sandboxes.iter().filter(|(_, held)| held.is_ending());
        Ok(ids.map(|(id, _)| id.clone()).collect::<Vec<_>>())
    };
    for id in api.with(ending).await.unwrap_or_default() {
        if api.providing.begin_end(&id) {
            let api = api.clone();
            tokio::spawn(async move {
                let destroyed = destroy(&api, &id).await;
                api.providing.ended(&id, destroyed.is_ok());
                if let Err(refusal) = destroyed {
                    tracing::error!(id, "it cannot be taken away: {}; trying again", refusal.reply().message);
                }
            });
        }
    }
}

/// Takes over from an earlier daemon: tells the provider who is there, and takes away what nobody has heard of.
pub(super) async fn adopt(api: &Api) -> Result<(), Refusal> {
    let Some(provider) = &api.providing.provider else { return Ok(()) };
    let (provided, making) = api
        .with(|node| {
            let provided = node.sandboxes.values().filter(|held| held.is_provided());
            let provided: Vec<Document> = provided.map(|held| held.record.document.clone()).collect();
            let making: Vec<(String, Making)> = node.store.all(Table::Making)?;
            Ok((provided, making))
        })
        .await?;
    for document in &provided {
        provider.recall(&document.id, &made(document));
    }
    let known: BTreeSet<String> = provided.into_iter().map(|document| document.id).collect();
    let strays = with_provider(api, move |provider| provider.strays(&known)).await?;
    for id in making.into_iter().map(|(id, _)| id).chain(strays) {
        tracing::warn!(id, "what the provider made for nobody is taken away");
        api.providing.leftovers().insert(id);
    }
    Ok(())
}

/// A document as the provider has made it.
fn made(document: &Document) -> Made {
    let Document { attach, addresses, mac, gateway, dhcp, inbound_from, on_deny, .. } = document.clone();
    Made { attach, addresses, mac, gateway, dhcp, inbound_from, on_deny }
}

/// Works with the provider on a thread that may block.
pub(super) async fn with_provider<T: Send + 'static>(
    api: &Api,
    work: impl FnOnce(&Provider) -> Result<T, filter_provider::Error> + Send + 'static,
) -> Result<T, Refusal> {
    let providing: Arc<Providing> = api.providing.clone();
    let worked = tokio::task::spawn_blocking(move || Ok(work(providing.provider()?)?)).await;
    worked.map_err(Refusal::internal)?
}

impl From<filter_provider::Error> for Refusal {
    fn from(error: filter_provider::Error) -> Refusal {
        match error {
            error @ filter_provider::Error::PoolExhausted { .. } => {
                Refusal::Unavailable { message: error.to_string(), hint: None }
            }
            error => Refusal::internal(error),
        }
    }
}
