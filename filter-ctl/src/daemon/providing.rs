//! Sandboxes from their first moment to their last: asked for of the provider, filtered, started, and taken away again.
//!
//! What the provider is asked for is written down first, so that nothing of it outlives a daemon that dies in the middle: what its caller
//! never heard of is taken away by the next one.

use super::api::Api;
use super::apply::Call;
use super::ending::{Ending, sweep};
use super::keys::random;
use super::node::Node;
use super::origin::Origin;
use super::refusal::Refusal;
use super::store::{Record, Table};
use super::turns::Turns;
use filter_dataplane::fail_point;
use filter_policy::{Document, Network};
use filter_provider::{Ask, Made, Provider};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Sandboxes that the provider is asked for at a time; others wait.
const AT_ONCE: usize = 16;

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
    /// Create calls that say which call they are.
    turns: Turns,
    pub(super) ending: Ending,
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
        let (permits, turns, ending) = (Semaphore::new(AT_ONCE), Turns::default(), Ending::default());
        Providing { provider, templates, permits, turns, ending }
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
}

/// Creates a sandbox, unless this very call has created one already. What is begun is done, also when nobody waits for it any more.
pub(super) async fn create(api: &Api, origin: Origin, place: Place) -> Result<Record, Refusal> {
    let api = api.clone();
    let created = tokio::spawn(async move {
        // Held until it is done: the same call, come again meanwhile, waits for what comes of the first.
        let _turn = match &origin.idempotency {
            Some(call) => Some(api.providing.turns.take(origin.owner.clone(), &call.key).await),
            None => None,
        };
        if let Some(record) = repeated(&api, &origin).await? {
            return Ok(record);
        }
        match place {
            Place::Given(document) => filter(&api, *document, origin).await,
            Place::Provided { id, network, body } => provide(&api, id, *network, body, origin).await,
        }
    });
    created.await.map_err(Refusal::internal)?
}

/// What this very call has created, as long as it lives.
async fn repeated(api: &Api, origin: &Origin) -> Result<Option<Record>, Refusal> {
    let Some(call) = origin.idempotency.clone() else { return Ok(None) };
    let owner = origin.owner.clone();
    api.with(move |node| {
        let is_its = |origin: &Origin| {
            origin.owner == owner && origin.idempotency.as_ref().is_some_and(|other| other.key == call.key)
        };
        let lives = |record: &Record| !record.sealed && !node.making.contains(&record.document.id);
        let mut records = node.sandboxes.values().map(|held| &held.record);
        let first = records.find(|record| lives(record) && record.origin.as_ref().is_some_and(is_its));
        match first {
            Some(first) if first.origin.as_ref().and_then(|origin| origin.idempotency.as_ref()) != Some(&call) => {
                let message = "this Idempotency-Key was sent with another request".to_owned();
                Err(Refusal::Conflict { message, hint: Some("each request has a key of its own".to_owned()) })
            }
            first => Ok(first.cloned()),
        }
    })
    .await
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
    api.with(move |node| note(node, noted)).await?;
    let ask = Ask { id: id.clone(), template: origin.template.clone(), settings: template.settings, body };
    let created = match with_provider(api, move |provider| Ok(provider.create(&ask))).await {
        Ok(Err(error)) if leaves_nothing(&error) => {
            forget(api, &id).await?;
            return Err(error.into());
        }
        created => created.and_then(|made| Ok(made?)),
    };
    let completed = match created {
        Ok(made) => complete(api, &id, made, network, origin).await,
        Err(refusal) => Err(refusal),
    };
    if completed.is_err() {
        providing.ending.nobody_has_heard_of(&id);
        sweep(api, &id).await;
    }
    completed
}

/// Whether nothing is left of a sandbox that could not be made, or only what is somebody else's.
fn leaves_nothing(error: &filter_provider::Error) -> bool {
    use filter_provider::Error;
    match error {
        Error::Half { first, .. } => matches!(**first, Error::Exists { .. }),
        _ => true,
    }
}

/// Notes that the provider is asked for a sandbox. Until that is forgotten nobody sees it.
fn note(node: &mut Node, id: String) -> Result<(), Refusal> {
    if node.sandboxes.contains_key(&id) || node.making.contains(&id) {
        return Err(Refusal::Conflict { message: format!("sandbox \"{id}\" is there already"), hint: None });
    }
    node.store.put(Table::Making, &id, &Making {})?;
    node.making.insert(id);
    fail_point("provide.noted");
    Ok(())
}

/// Filters and starts what the provider has made.
async fn complete(api: &Api, id: &str, made: Made, network: Network, origin: Origin) -> Result<Record, Refusal> {
    fail_point("provide.made");
    let record = filter(api, made.document(id, network), origin).await?;
    fail_point("provide.filtered");
    let started = id.to_owned();
    with_provider(api, move |provider| provider.start(&started, &made)).await?;
    fail_point("provide.started");
    forget(api, id).await?;
    fail_point("provide.forgotten");
    Ok(record)
}

/// Forgets that the provider was asked for a sandbox: it is there for its owner, or gone.
pub(super) async fn forget(api: &Api, id: &str) -> Result<(), Refusal> {
    let id = id.to_owned();
    api.with(move |node| {
        node.store.take(Table::Making, &id)?;
        node.making.remove(&id);
        Ok(())
    })
    .await
}

/// Takes over from an earlier daemon: tells the provider who is there, and takes away what nobody has heard of.
pub(super) async fn adopt(api: &Api) -> Result<(), Refusal> {
    let (provided, making) = api
        .with(|node| {
            let provided = node.sandboxes.values().filter(|held| held.is_provided());
            let provided: Vec<Document> = provided.map(|held| held.record.document.clone()).collect();
            let making: Vec<(String, Making)> = node.store.all(Table::Making)?;
            node.making.extend(making.iter().map(|(id, _)| id.clone()));
            Ok((provided, making))
        })
        .await?;
    let Some(provider) = &api.providing.provider else { return Ok(()) };
    for document in &provided {
        provider.recall(&document.id, &Made::of(document));
    }
    let known: BTreeSet<String> = provided.into_iter().map(|document| document.id).collect();
    let strays = with_provider(api, move |provider| provider.strays(&known)).await?;
    for id in making.into_iter().map(|(id, _)| id).chain(strays).collect::<BTreeSet<_>>() {
        tracing::warn!(id, "what the provider made for nobody is taken away");
        api.providing.ending.nobody_has_heard_of(&id);
    }
    Ok(())
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
