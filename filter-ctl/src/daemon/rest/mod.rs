//! The API that E2B's clients speak: sandboxes asked for, shown, changed and ended over TCP.
//!
//! Checks come in one order: the key, the id, the body, the sandbox. The same routes answer on the local socket, where everybody is the
//! operator and needs no key.

mod body;
mod create;
mod end;
mod fault;
mod id;
mod listen;
mod network;
mod show;
mod timeout;
mod wire;

pub(super) use listen::{Listening, serve};

use super::api::Api;
use super::keys::Keys;
use super::metrics::counted;
use super::origin::Caller;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use fault::Fault;

/// The document that describes these routes.
const OPENAPI: &str = include_str!("openapi.json");

/// The routes for whoever has a key.
pub(super) fn for_keys(api: Api) -> Router {
    let (keys, counts) = (api.keys.clone(), api.counted.clone());
    routes(api)
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing_here)
        .layer(middleware::from_fn_with_state(keys, authenticated))
        .merge(Router::new().route("/health", get(health)).route("/openapi.json", get(openapi)))
        .layer(middleware::from_fn_with_state(counts, counted))
}

/// The routes for whoever can open the local socket.
pub(super) fn for_operator(api: Api) -> Router {
    routes(api).layer(Extension(Caller::Operator))
}

fn routes(api: Api) -> Router {
    Router::new()
        .route("/sandboxes", post(create::first_version).get(show::first_list))
        .route("/v2/sandboxes", post(create::second_version).get(show::list))
        .route("/sandboxes/{id}", get(show::one).delete(end::kill))
        .route("/sandboxes/{id}/network", put(network::replace))
        .route("/sandboxes/{id}/timeout", post(timeout::set))
        .route("/sandboxes/{id}/refreshes", post(timeout::refresh))
        .route("/sandboxes/{id}/connect", post(timeout::connect))
        .route("/v2/sandboxes/{id}/connect", post(timeout::connect))
        .route("/sandboxes/{id}/pause", post(end::no_pause))
        .route("/sandboxes/{id}/resume", post(end::no_pause))
        .route("/sandboxes/{id}/fork", post(end::no_fork))
        .route("/sandboxes/{id}/snapshots", post(end::no_snapshots))
        .route("/snapshots", get(end::no_snapshot_list))
        .route("/sandboxes/{id}/metrics", get(end::no_metrics))
        .with_state(api)
}

/// Lets a request through whose key is good, and says whose it is. Nothing else of it is looked at before.
async fn authenticated(State(keys): State<Keys>, mut request: Request, next: Next) -> Response {
    let mut presented = request.headers().get_all("x-api-key").iter();
    let caller = match (presented.next(), presented.next()) {
        (Some(key), None) => keys.caller(key.as_bytes()).ok_or("the API key is not known"),
        (None, _) => Err("an API key is missing: send it as X-API-Key"),
        (Some(_), Some(_)) => Err("there is more than one API key"),
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(why) => Fault::new(StatusCode::UNAUTHORIZED, why).into_response(),
    }
}

async fn health() -> StatusCode {
    StatusCode::OK
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

async fn nothing_here() -> Fault {
    Fault::new(StatusCode::NOT_FOUND, "no such request")
}

async fn wrong_method() -> Fault {
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, "this path has no such method")
}

/// A request that worked.
type Answer<T> = Result<Json<T>, Fault>;
