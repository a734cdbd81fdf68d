//! The listener: HTTP/1.1 without TLS, bounded in connections and in time. It answers `GET` only, and takes no body.

use super::ready::{Readiness, readiness};
use super::scrape::scrape;
use super::text::{CONTENT_TYPE, text};
use super::{Counted, Daemon};
use crate::daemon::accept;
use crate::daemon::config::MetricsConfig;
use anyhow::Context;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Connections at a time; others wait to be accepted.
const CONNECTIONS: usize = 32;
/// How long a client may take for the head of a request: also how long it may be idle.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may last, whatever is done with it.
const LIFE: Duration = Duration::from_secs(30);
/// Longest head of a request, in bytes.
const HEAD_BYTES: usize = 16 << 10;

/// Where metrics are told.
pub(in crate::daemon) struct Listening(TcpListener);

impl Listening {
    /// Listens where the configuration says.
    pub(in crate::daemon) async fn open(config: &MetricsConfig) -> anyhow::Result<Listening> {
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.with_context(|| format!("metrics cannot be told at {}", config.listen))?;
        if !config.listen.ip().is_loopback() {
            tracing::warn!(listen = %config.listen, "metrics are open to others: whoever gets there reads them");
        }
        tracing::info!(listen = %listener.local_addr()?, "metrics are told");
        Ok(Listening(listener))
    }
}

/// Answers requests as long as it is polled; says that the daemon is not ready until it is there.
pub(in crate::daemon) async fn serve(Listening(listener): Listening, daemon: Daemon, counted: Counted) {
    let router = Router::new().fallback(answer).with_state((daemon, counted));
    accept::each(listener, CONNECTIONS, |stream| {
        let answered = accept::answer(stream, router.clone(), PATIENCE, HEAD_BYTES);
        async { drop(timeout(LIFE, answered).await) }
    })
    .await;
}

async fn answer(State((daemon, counted)): State<(Daemon, Counted)>, request: Request) -> Response {
    let path = request.uri().path();
    if !["/metrics", "/health", "/ready"].contains(&path) {
        return (StatusCode::NOT_FOUND, "here are /metrics, /health and /ready\n").into_response();
    }
    if request.method() != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")]).into_response();
    }
    match (path, daemon.get()) {
        ("/health", _) => StatusCode::OK.into_response(),
        ("/ready", None) => told(&Readiness::starting()),
        ("/ready", Some(api)) => told(&readiness(api).await),
        (_, None) => (StatusCode::SERVICE_UNAVAILABLE, "the daemon is starting\n").into_response(),
        (_, Some(api)) => {
            let scraped = scrape(api).await.map_err(|refusal| refusal.reply().message);
            match scraped.and_then(|scrape| text(&scrape, &counted, &api.news).map_err(|error| error.to_string())) {
                Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
                Err(message) => (StatusCode::INTERNAL_SERVER_ERROR, message).into_response(),
            }
        }
    }
}

fn told(readiness: &Readiness) -> Response {
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}
