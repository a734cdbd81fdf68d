//! How long a sandbox lives: set, extended, and extended by whoever connects to it.

use super::create::MAX_TIMEOUT;
use super::fault::Fault;
use super::id::Id;
use super::wire::{Connect, NewTimeout, Sandbox};
use super::{Answer, body};
use crate::daemon::api::Api;
use crate::daemon::lifetime;
use crate::daemon::origin::Caller;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};

pub(super) async fn set(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    request: Request,
) -> Result<StatusCode, Fault> {
    let NewTimeout { timeout } = body::typed(body::object(request).await?)?;
    let timeout = checked(timeout)?;
    api.with(move |node| lifetime::set(node, &caller, &id, timeout)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Extends what would end earlier, as older clients ask for it.
pub(super) async fn refresh(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    request: Request,
) -> Result<StatusCode, Fault> {
    #[derive(serde::Deserialize)]
    struct Refresh {
        duration: Option<u32>,
    }
    let Refresh { duration } = body::typed(body::object(request).await?)?;
    let timeout = checked(duration.unwrap_or(super::create::OLD_TIMEOUT))?;
    api.with(move |node| lifetime::extend(node, &caller, &id, timeout)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn connect(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    request: Request,
) -> Answer<Sandbox> {
    let Connect { timeout } = body::typed(body::object(request).await?)?;
    let timeout = timeout.map(checked).transpose()?;
    let record = api
        .with(move |node| {
            if let Some(timeout) = timeout {
                lifetime::extend(node, &caller, &id, timeout)?;
            }
            node.seen_by(&caller, &id).map(|held| held.record.clone())
        })
        .await?;
    Ok(Json(api.sandbox(&record)))
}

fn checked(timeout: u32) -> Result<u32, Fault> {
    if timeout > MAX_TIMEOUT {
        return Err(Fault::schema(format_args!("timeout: {timeout} seconds are too many: {MAX_TIMEOUT} is the most")));
    }
    Ok(timeout)
}
