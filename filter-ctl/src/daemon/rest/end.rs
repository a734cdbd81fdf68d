//! `DELETE /sandboxes/{id}`, and what this host has nothing of.

use super::fault::Fault;
use super::id::Id;
use crate::daemon::api::Api;
use crate::daemon::ending;
use crate::daemon::origin::Caller;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;

pub(super) async fn kill(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
) -> Result<StatusCode, Fault> {
    ending::end(&api, caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn no_pause(Id(_): Id) -> Fault {
    Fault::unsupported("pausing")
}

pub(super) async fn no_fork(Id(_): Id) -> Fault {
    Fault::unsupported("forking")
}

pub(super) async fn no_snapshots(Id(_): Id) -> Fault {
    Fault::unsupported("taking snapshots")
}

pub(super) async fn no_snapshot_list() -> Fault {
    Fault::unsupported("listing snapshots")
}

pub(super) async fn no_metrics(Id(_): Id) -> Fault {
    Fault::new(StatusCode::NOT_IMPLEMENTED, "measuring a sandbox's CPU and memory is not supported")
}
