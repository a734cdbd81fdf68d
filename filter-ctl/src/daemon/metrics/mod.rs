//! Metrics, health and readiness, on a listener of their own that tells them to whoever can reach it and takes nothing.

mod listen;
mod ready;
mod scrape;
mod text;

pub(super) use listen::{Listening, serve};

use super::api::Api;
use super::refusal::Refusal;
use crate::api::{Applied, Change};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The daemon, once it has taken over what there is. Until then it is alive and not ready.
pub(super) type Daemon = Arc<OnceLock<Api>>;

/// Upper bounds of the histogram of updates, in seconds.
const BOUNDS: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// What is counted as it happens. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    updates: Family<Update, Counter>,
    latency: Histogram,
    requests: Family<Answered, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Update {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

impl Counted {
    pub(super) fn new() -> Counted {
        let (updates, requests) = (Family::<Update, Counter>::default(), Family::default());
        for outcome in ["created", "updated", "unchanged", "refused", "failed"] {
            drop(updates.get_or_create(&Update { outcome }));
        }
        Counted { updates, latency: Histogram::new(BOUNDS), requests }
    }

    /// A call has changed sandboxes, each as its result says.
    pub(super) fn applied(&self, results: &[Applied], took: Duration) {
        for Applied { change, .. } in results {
            let outcome = match change {
                Change::Created => "created",
                Change::Updated => "updated",
                Change::Unchanged => "unchanged",
            };
            self.updates.get_or_create(&Update { outcome }).inc();
            if *change != Change::Unchanged {
                self.latency.observe(took.as_secs_f64());
            }
        }
    }

    /// A call was refused, or the kernel or the disk has failed it.
    pub(super) fn refused(&self, refusal: &Refusal) {
        let outcome = if matches!(refusal, Refusal::Internal(_)) { "failed" } else { "refused" };
        self.updates.get_or_create(&Update { outcome }).inc();
    }
}

/// Counts a request of an API by its route and the status that it is answered with.
pub(super) async fn counted(State(counted): State<Counted>, request: Request, next: Next) -> Response {
    // Neither what clients ask for nor how makes a series: the routes do.
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let method = match request.method().as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "other",
    };
    let response = next.run(request).await;
    counted.requests.get_or_create(&Answered { method, route, status: response.status().as_u16() }).inc();
    response
}
