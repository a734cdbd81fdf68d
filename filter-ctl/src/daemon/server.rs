//! The local API over its socket. Whoever may open the socket (mode 0600: its owner) may do everything.

use super::api::Api;
use super::metrics::counted;
use super::node::Node;
use super::origin::Caller;
use super::refusal::Refusal;
use super::{apply, end, ending, explain, orphans, rest, status};
use crate::api::{
    ApplyRequest, Denials, ErrorReply, ExplainRequest, Health, Key, Line, MAX_BODY_BYTES, Missed, NewKey,
};
use anyhow::{Context, bail};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt};
use nix::sys::stat::{Mode, umask};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path as FilePath;
use tokio::net::UnixListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

/// Listens on the socket, for its owner alone. Refuses to take it from a daemon that answers.
pub(super) fn bind(socket: &FilePath) -> anyhow::Result<UnixListener> {
    if UnixStream::connect(socket).is_ok() {
        bail!("another daemon answers at {}\n  hint: stop it, or give this one its own --socket", socket.display());
    }
    match fs::symlink_metadata(socket) {
        Ok(there) if !there.file_type().is_socket() => {
            bail!("{} is there and is no socket\n  hint: name another --socket", socket.display());
        }
        _ => unbind(socket),
    }
    if let Some(directory) = socket.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(socket);
    umask(before);
    listener.with_context(|| format!("cannot listen on {}", socket.display()))
}

/// Removes the socket's name.
pub(super) fn unbind(socket: &FilePath) {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, socket = %socket.display(), "cannot remove the socket");
        }
        _ => {}
    }
}

/// Answers requests until `stop`.
pub(super) async fn serve(
    listener: UnixListener,
    api: Api,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let counts = api.counted.clone();
    let router = Router::new()
        .route("/v1/health", get(health))
        .route("/v1/apply", post(apply_documents))
        .route("/v1/sandboxes", get(list))
        .route("/v1/sandboxes/{id}", get(show).delete(delete))
        .route("/v1/sandboxes/{id}/detach", post(detach))
        .route("/v1/sandboxes/{id}/explain", post(explain_packet))
        .route("/v1/sandboxes/{id}/denials", get(denials))
        .route("/v1/slots/{slot}/detach", post(detach_slot))
        .route("/v1/events", get(watch))
        .route("/v1/keys", get(list_keys).post(create_key))
        .route("/v1/keys/{id}", axum::routing::delete(revoke_key))
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(api.clone())
        .merge(rest::for_operator(api))
        .layer(middleware::from_fn_with_state(counts, counted));
    // Watchers hold their connections open: a stopping daemon does not wait for them.
    let server = axum::serve(listener, router);
    tokio::select! {
        served = std::future::IntoFuture::into_future(server) => served.context("the API failed"),
        () = stop => Ok(()),
    }
}

async fn health(State(api): State<Api>) -> Answer<Health> {
    answer(&api, |node| {
        Ok(Health {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            abi: filter_core::abi::VERSION,
            pid: std::process::id(),
            sandboxes: node.sandboxes.len(),
            strays: node.dataplane.strays()?,
            orphans: orphans::list(node),
            sidecar: node.sidecar.status(),
        })
    })
    .await
}

async fn apply_documents(State(api): State<Api>, body: Bytes) -> Answer<crate::api::ApplyReply> {
    let request: ApplyRequest = read(&body)?;
    api.applies.carry_out(&api.node, apply::Call::Documents(request)).await.map(Json)
}

async fn list(State(api): State<Api>) -> Answer<Vec<crate::api::SandboxStatus>> {
    answer(&api, |node| status::all(node)).await
}

async fn show(State(api): State<Api>, Path(id): Path<String>) -> Answer<crate::api::SandboxStatus> {
    answer(&api, move |node| status::one(node, &id)).await
}

async fn delete(State(api): State<Api>, Path(id): Path<String>) -> Answer<crate::api::Ended> {
    let ended = id.clone();
    let provided = api.with(move |node| Ok(end::provided(node.held(&ended)?))).await?;
    match provided {
        Some(ended) => ending::end(&api, Caller::Operator, id).await.map(|()| Json(ended)),
        None => answer(&api, move |node| end::delete(node, &id)).await,
    }
}

async fn detach(State(api): State<Api>, Path(id): Path<String>) -> Answer<crate::api::Ended> {
    answer(&api, move |node| end::detach(node, &id)).await
}

async fn detach_slot(State(api): State<Api>, Path(slot): Path<u32>) -> Answer<crate::api::Ended> {
    answer(&api, move |node| orphans::detach(node, slot)).await
}

async fn explain_packet(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer<crate::api::Explanation> {
    let request: ExplainRequest = read(&body)?;
    answer(&api, move |node| explain::explain(node, &id, &request)).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Since {
    since_ms: Option<u64>,
}

async fn denials(State(api): State<Api>, Path(id): Path<String>, Query(since): Query<Since>) -> Answer<Denials> {
    answer(&api, move |node| status::denials(node, &id, since.since_ms.unwrap_or(0))).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Watch {
    id: Option<String>,
}

async fn watch(State(api): State<Api>, Query(watch): Query<Watch>) -> Result<Response, Refusal> {
    if let Some(id) = watch.id.clone() {
        api.with(move |node| node.held(&id).map(drop)).await?;
    }
    let lines = lines(api.news.watch(), watch.id);
    let response = ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines));
    Ok(response.into_response())
}

/// What is told of one sandbox, or at all, and how much was missed.
fn lines(news: broadcast::Receiver<Line>, id: Option<String>) -> impl Stream<Item = io::Result<String>> {
    BroadcastStream::new(news).filter_map(move |line| {
        let line = match line {
            Ok(line) if id.as_ref().is_none_or(|id| about(&line) == Some(id)) => Some(serde_json::to_string(&line)),
            Ok(_) => None,
            Err(BroadcastStreamRecvError::Lagged(missed)) => Some(serde_json::to_string(&Missed { missed })),
        };
        std::future::ready(line.map(|line| line.map(|line| line + "\n").map_err(io::Error::from)))
    })
}

/// The sandbox that a line is about.
fn about(line: &Line) -> Option<&String> {
    match line {
        Line::Denied(event) => Some(&event.id),
        Line::Notice(notice) => notice.id.as_ref(),
        Line::Missed(_) => None,
    }
}

async fn list_keys(State(api): State<Api>) -> Json<Vec<Key>> {
    Json(api.keys.list())
}

async fn create_key(State(api): State<Api>, body: Bytes) -> Answer<Key> {
    let asked: NewKey = read(&body)?;
    let keys = api.keys.clone();
    answer(&api, move |node| keys.create(&node.store, &asked)).await
}

async fn revoke_key(State(api): State<Api>, Path(id): Path<String>) -> Answer<Key> {
    let keys = api.keys.clone();
    answer(&api, move |node| keys.revoke(&node.store, &id)).await
}

async fn nothing_here() -> Refusal {
    Refusal::Request { message: "no such request".to_owned(), hint: None }
}

type Answer<T> = Result<Json<T>, Refusal>;

async fn answer<T: Send + 'static>(
    api: &Api,
    work: impl FnOnce(&mut Node) -> Result<T, Refusal> + Send + 'static,
) -> Answer<T> {
    api.with(work).await.map(Json)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::Request { message: format!("the request's body: {error}"), hint: None })
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let reply: ErrorReply = self.reply();
        let status = StatusCode::from_u16(reply.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(reply)).into_response()
    }
}
