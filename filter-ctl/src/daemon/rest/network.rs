//! `PUT /sandboxes/{id}/network`: another egress configuration, whole and at once.

use super::body;
use super::fault::Fault;
use super::id::Id;
use super::wire::NewEgress;
use crate::daemon::api::Api;
use crate::daemon::apply::{Call, NetworkUpdate};
use crate::daemon::origin::Caller;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;

pub(super) async fn replace(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    request: Request,
) -> Result<StatusCode, Fault> {
    let asked: NewEgress = body::typed(body::object(request).await?)?;
    if let Some(field) = asked.create_only() {
        return Err(Fault::schema(format_args!("{field} can be set when a sandbox is created, and not changed after")));
    }
    let update = NetworkUpdate {
        allow_internet_access: asked.allow_internet_access,
        allow_out: asked.allow_out,
        deny_out: asked.deny_out,
        rules: asked.rules,
        egress_proxy: asked.egress_proxy,
    };
    api.proxies.now().check(update.egress_proxy.as_ref()).await?;
    api.applies.carry_out(&api.node, Call::Network { id, caller, update, document: None }).await?;
    Ok(StatusCode::NO_CONTENT)
}
