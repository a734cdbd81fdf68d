//! Sandboxes as the API shows them: `GET /sandboxes/{id}`, `GET /v2/sandboxes`.

use super::Answer;
use super::fault::Fault;
use super::id::Id;
use super::wire::{Detail, Ids, Listed, Sandbox, ShownNetwork};
use crate::daemon::api::Api;
use crate::daemon::node::Held;
use crate::daemon::origin::Caller;
use crate::daemon::store::Record;
use crate::daemon::tokens::Token;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Sandboxes of one answer, at most and unless the client says otherwise.
const PAGE: usize = 100;
/// When a sandbox ends that does not end by itself.
const NEVER: &str = "9999-12-31T23:59:59Z";

pub(super) async fn one(State(api): State<Api>, Extension(caller): Extension<Caller>, Id(id): Id) -> Answer<Detail> {
    let asks = caller.clone();
    let held = api.with(move |node| node.seen_by(&asks, &id).cloned()).await?;
    let Held { record, .. } = &held;
    let is_owner = caller.owner() == record.origin.as_ref().and_then(|origin| origin.owner.clone());
    Ok(Json(Detail {
        listed: api.listed(&held),
        allow_internet_access: record.document.network.allow_internet_access,
        network: ShownNetwork::of(&record.document, is_owner),
        domain: api.settings.domain.clone(),
    }))
}

/// What a client asks to be listed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    /// `key=value` pairs, percent-encoded twice.
    metadata: Option<String>,
    /// States, with commas between them.
    state: Option<String>,
    template: Option<String>,
    started_after: Option<String>,
    order: Option<String>,
    limit: Option<usize>,
    next_token: Option<String>,
}

/// The list of older clients: all at once.
pub(super) async fn first_list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Answer<Vec<Listed>> {
    let Query(wanted) = wanted.map_err(|error| Fault::schema(error.body_text()))?;
    let wanted = Filter::of(&wanted)?;
    Ok(Json(sorted(&api, caller, wanted).await?.into_iter().map(|(_, listed)| listed).collect()))
}

/// The list, page by page: what `x-next-token` says is where the next one begins.
pub(super) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<(HeaderMap, Json<Vec<Listed>>), Fault> {
    let Query(wanted) = wanted.map_err(|error| Fault::schema(error.body_text()))?;
    let limit = wanted.limit.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(Fault::schema(format_args!("limit: expected 1 to {PAGE}")));
    }
    let filter = Filter::of(&wanted)?;
    let descending = filter.descending;
    let all = sorted(&api, caller, filter).await?;
    let after = wanted.next_token.as_deref().map(token).transpose()?;
    let is_later = |key: &Key| match &after {
        Some(after) if descending => key < after,
        Some(after) => key > after,
        None => true,
    };
    let mut page: Vec<_> = all.into_iter().filter(|(key, _)| is_later(key)).take(limit + 1).collect();
    let mut headers = HeaderMap::new();
    if page.len() > limit {
        page.truncate(limit);
        if let Some(next) = page.last().and_then(|((created, id), _)| format!("{created}.{id}").parse().ok()) {
            headers.insert("x-next-token", next);
        }
    }
    Ok((headers, Json(page.into_iter().map(|(_, listed)| listed).collect())))
}

/// What a list is in the order of: when a sandbox was created, and its id.
type Key = (u64, String);

fn token(text: &str) -> Result<Key, Fault> {
    let parts = text.split_once('.').and_then(|(created, id)| Some((created.parse().ok()?, id.to_owned())));
    parts.ok_or_else(|| Fault::schema("nextToken: expected what x-next-token said"))
}

/// What is asked for, understood.
struct Filter {
    metadata: BTreeMap<String, String>,
    running: bool,
    paused: bool,
    template: Option<String>,
    started_after: Option<u64>,
    descending: bool,
}

impl Filter {
    fn of(wanted: &Wanted) -> Result<Filter, Fault> {
        let mut states = (wanted.state.is_none(), wanted.state.is_none());
        for state in wanted.state.iter().flat_map(|states| states.split(',')) {
            match state {
                "running" => states.0 = true,
                "paused" => states.1 = true,
                _ => return Err(Fault::schema("state: expected running or paused")),
            }
        }
        let descending = match wanted.order.as_deref() {
            None | Some("desc") => true,
            Some("asc") => false,
            Some(_) => return Err(Fault::schema("order: expected asc or desc")),
        };
        let seconds = |text: &str| match text.parse::<Timestamp>() {
            Ok(time) => Ok(u64::try_from(time.as_second()).unwrap_or_default()),
            Err(_) => Err(Fault::schema("startedAfter: expected a time, RFC 3339")),
        };
        let started_after = wanted.started_after.as_deref().map(seconds);
        Ok(Filter {
            metadata: wanted.metadata.as_deref().map(pairs).unwrap_or_default(),
            running: states.0,
            paused: states.1,
            template: wanted.template.clone(),
            started_after: started_after.transpose()?,
            descending,
        })
    }

    fn has(&self, held: &Held) -> bool {
        let origin = held.record.origin.as_ref();
        let has_all = || match origin {
            Some(origin) => self.metadata.iter().all(|(key, value)| origin.metadata.get(key) == Some(value)),
            None => self.metadata.is_empty(),
        };
        let is_from = |template: &String| origin.is_some_and(|origin| origin.template == *template);
        (if held.gone { self.paused } else { self.running })
            && self.template.as_ref().is_none_or(is_from)
            && self.started_after.is_none_or(|after| held.record.created > after)
            && has_all()
    }
}

/// Pairs as in a query; clients encode keys and values once more.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    form_urlencoded::parse(text.as_bytes()).map(|(key, value)| (decoded(&key), decoded(&value))).collect()
}

async fn sorted(api: &Api, caller: Caller, filter: Filter) -> Result<Vec<(Key, Listed)>, Fault> {
    let descending = filter.descending;
    let lists = api.clone();
    let mut all: Vec<(Key, Listed)> = api
        .with(move |node| {
            let listed = node.all_for(&caller).filter(|held| filter.has(held));
            let key = |held: &Held| (held.record.created, held.record.document.id.clone());
            Ok(listed.map(|held| (key(held), lists.listed(held))).collect())
        })
        .await?;
    all.sort_by(|(a, _), (b, _)| if descending { b.cmp(a) } else { a.cmp(b) });
    Ok(all)
}

impl Api {
    /// What a client needs to work with a sandbox.
    pub(super) fn sandbox(&self, record: &Record) -> Sandbox {
        let (id, created) = (&record.document.id, record.created);
        let origin = record.origin.as_ref();
        let is_private = !record.document.network.allow_public_traffic;
        let token = |kind| self.tokens.of(kind, id, created);
        Sandbox {
            ids: Ids {
                template: origin.map(|origin| origin.template.clone()).unwrap_or_default(),
                id: id.clone(),
                client: self.tokens.client_id(),
            },
            envd_version: self.settings.envd_version.clone(),
            envd_access_token: origin.is_some_and(|origin| origin.secure).then(|| token(Token::Envd)),
            traffic_access_token: is_private.then(|| token(Token::Traffic)),
            domain: self.settings.domain.clone(),
        }
    }

    fn listed(&self, Held { record, gone, .. }: &Held) -> Listed {
        let origin = record.origin.as_ref();
        let Sandbox { ids, envd_version, .. } = self.sandbox(record);
        let size = self.providing.template(&ids.template).unwrap_or_default();
        let ends_at = origin.and_then(|origin| origin.ends_at);
        Listed {
            ids,
            started_at: time(record.created * 1_000),
            end_at: ends_at.map_or_else(|| NEVER.to_owned(), time),
            envd_version,
            cpu_count: size.cpu_count,
            memory_mb: size.memory_mb,
            disk_size_mb: size.disk_size_mb,
            state: if *gone { "paused" } else { "running" },
            metadata: origin.map(|origin| origin.metadata.clone()).unwrap_or_default(),
        }
    }
}

/// Milliseconds since 1970, as in RFC 3339.
fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| NEVER.to_owned(), |time| time.to_string())
}
