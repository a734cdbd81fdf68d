//! `POST /v2/sandboxes`, and `POST /sandboxes` of older clients.

use super::body;
use super::fault::Fault;
use super::wire::{NewSandbox, Sandbox};
use crate::daemon::api::Api;
use crate::daemon::keys::hash;
use crate::daemon::lifetime;
use crate::daemon::origin::{Caller, Idempotency, Origin};
use crate::daemon::providing::{self, Place};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use filter_policy::{Document, Network, validate_network};
use serde_json::Value;

/// The longest that a sandbox may live, in seconds: ten years.
pub(super) const MAX_TIMEOUT: u32 = 10 * 365 * 86_400;
/// How long one lives that says nothing of it, asked for by an older client.
pub(super) const OLD_TIMEOUT: u32 = 15;
const TIMEOUT: u32 = 300;
/// What metadata may hold: pairs, and bytes in all.
const METADATA: (usize, usize) = (64, 8 << 10);

/// Which of the two calls it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    First,
    Second,
}

type Created = Result<(StatusCode, Json<Sandbox>), Fault>;

pub(super) async fn first_version(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Created {
    create(api, caller, request, Version::First).await
}

pub(super) async fn second_version(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Created {
    create(api, caller, request, Version::Second).await
}

async fn create(api: Api, caller: Caller, request: Request, version: Version) -> Created {
    let key = idempotency_key(request.headers())?;
    let body = body::object(request).await?;
    let mut asked: NewSandbox = body::typed(body.clone())?;
    let (default, secure) = match version {
        Version::First => (OLD_TIMEOUT, asked.secure == Some(true)),
        Version::Second => (TIMEOUT, true),
    };
    let timeout = asked.timeout.unwrap_or(default);
    if timeout > MAX_TIMEOUT {
        return Err(Fault::schema(format_args!("timeout: {timeout} seconds are too many: {MAX_TIMEOUT} is the most")));
    }
    let metadata = asked.metadata.take().unwrap_or_default();
    if metadata.len() > METADATA.0
        || metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > METADATA.1
    {
        let (pairs, bytes) = METADATA;
        return Err(Fault::schema(format_args!("metadata: {pairs} pairs and {bytes} bytes are the most")));
    }
    if asked.auto_pause == Some(true) {
        return Err(Fault::schema("autoPause: pausing is not supported: sandboxes run until they end"));
    }
    let network = asked.network.take().unwrap_or_default().network(asked.allow_internet_access);
    if !network.allow_public_traffic && !secure {
        return Err(Fault::new(
            StatusCode::BAD_REQUEST,
            "You cannot create a sandbox without public access unless you enable secure envd access via 'secure' flag.",
        ));
    }
    validate_network(&network, None, &api.limits.now()).map_err(|found| Fault::problems(&found))?;
    api.proxies.now().check(network.egress_proxy.as_ref()).await?;

    let is_placed = asked.attach.is_some() || asked.addresses.is_some();
    if (is_placed || asked.id.is_some()) && caller != Caller::Operator {
        return Err(Fault::new(StatusCode::FORBIDDEN, "attach, addresses and sandboxID need an operator's key"));
    }
    let id = match asked.id.take() {
        Some(id) => id,
        None => providing::new_id().map_err(crate::daemon::refusal::Refusal::from)?,
    };
    let ends = !is_placed || asked.end_on_timeout;
    let origin = Origin {
        owner: caller.owner(),
        template: asked.template.take().unwrap_or_default(),
        provided: !is_placed,
        secure,
        metadata,
        ends_at: ends.then(|| lifetime::after(timeout)),
        idempotency: key.map(|key| Idempotency { key, request: digest(version, &body) }),
    };
    let place = if is_placed {
        Place::Given(Box::new(document(id, asked, network)?))
    } else {
        Place::Provided { id, network: Box::new(network), body }
    };
    let record = providing::create(&api, origin, place).await?;
    Ok((StatusCode::CREATED, Json(api.sandbox(&record))))
}

/// What the client calls this request, so that it can send it again.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let (first, second) = (keys.next(), keys.next());
    let Some(key) = first else { return Ok(None) };
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let key = key.to_str().ok().filter(|key| (1..=255).contains(&key.len()) && key.bytes().all(is_allowed));
    match (key, second) {
        (Some(key), None) => Ok(Some(key.to_owned())),
        _ => Err(Fault::schema("Idempotency-Key: expected one, of 1 to 255 of a-z, 0-9 and -")),
    }
}

/// What tells a request from another: nothing of it can be read from that.
fn digest(version: Version, body: &Value) -> String {
    let version = match version {
        Version::First => 1,
        Version::Second => 2,
    };
    hash(format!("{version}{body}").as_bytes())
}

/// The document of a sandbox whose place is given.
fn document(id: String, asked: NewSandbox, network: Network) -> Result<Document, Fault> {
    let missing = |field| Fault::schema(format_args!("{field}: is missing"));
    Ok(Document {
        version: 1,
        id,
        name: None,
        attach: asked.attach.ok_or_else(|| missing("attach"))?,
        addresses: asked.addresses.ok_or_else(|| missing("addresses"))?,
        mac: asked.mac,
        gateway: asked.gateway,
        dhcp: asked.dhcp,
        inbound_from: asked.inbound_from,
        on_deny: asked.on_deny,
        network,
    })
}
