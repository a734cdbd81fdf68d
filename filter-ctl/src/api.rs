//! The daemon's local API: HTTP/1.1 over a Unix socket, JSON bodies, the same types on both sides.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /v1/health` | | 200 [`Health`] |
//! | `POST /v1/apply` | [`ApplyRequest`] | 200 [`ApplyReply`] |
//! | `GET /v1/sandboxes` | | 200 list of [`SandboxStatus`] |
//! | `GET /v1/sandboxes/{id}` | | 200 [`SandboxStatus`] |
//! | `DELETE /v1/sandboxes/{id}` | | 200 [`Ended`]: sealed |
//! | `POST /v1/sandboxes/{id}/detach` | | 200 [`Ended`]: detached |
//! | `GET /v1/sandboxes/{id}/denials?sinceMs={ms}` | | 200 [`Denials`]: those since then (milliseconds since 1970), or all that are kept |
//! | `POST /v1/slots/{slot}/detach` | | 200 [`Ended`]: hooks that no record knows are detached |
//! | `POST /v1/sandboxes/{id}/explain` | [`ExplainRequest`] | 200 [`Explanation`] |
//! | `GET /v1/keys` | | 200 list of [`Key`], without their text |
//! | `POST /v1/keys` | [`NewKey`] | 200 [`Key`]: its text is told here and never again |
//! | `DELETE /v1/keys/{id}` | | 200 [`Key`]: revoked |
//! | `GET /v1/events?id={id}` | | 200, one [`Line`] a line as they happen (`application/x-ndjson`) |
//!
//! Every other answer has an [`ErrorReply`]: 400 (the request is at fault), 404 (no such sandbox), 409 (in the way of
//! another), 500 (the kernel or the store refused). A request that fails changes nothing.

mod denials;
mod explain;
mod notice;

pub use denials::{Denial, Denials};
pub use explain::{ExplainRequest, Explanation, NameExplanation, Protocol};
pub use notice::{Line, Notice, NoticeKind};

use filter_policy::{Document, Lines, Problem};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Longest request body that the daemon reads, in bytes: documents of the largest size, and what JSON adds to them.
pub const MAX_BODY_BYTES: usize = 128 << 20;

/// The daemon is alive.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Version of the daemon.
    pub version: String,
    /// Version of the kernel ABI.
    pub abi: u32,
    /// Its process id.
    pub pid: u32,
    /// Sandboxes that it holds, sealed ones included.
    pub sandboxes: usize,
    /// Packets on devices that belong to no sandbox.
    pub strays: u64,
    /// Hooks that no record knows.
    #[serde(default)]
    pub orphans: Vec<Orphan>,
    /// The sidecar, once names were needed.
    #[serde(default)]
    pub sidecar: Option<SidecarStatus>,
}

/// The process that judges connections by names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SidecarStatus {
    /// Its process id; none while it does not run, and connections for names are refused.
    pub pid: Option<u32>,
    /// How often it was replaced since the daemon started.
    pub restarts: u32,
    /// Sandboxes that it works for.
    pub sandboxes: usize,
    /// How the last one ended that was replaced.
    #[serde(default)]
    pub last_end: Option<String>,
}

/// Hooks on a device that no record knows: they enforce the last policy of a sandbox whose record somebody has removed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// Their slot, by which they can be detached.
    pub slot: u32,
    /// Their device.
    pub device: String,
}

/// Documents to apply: all of them or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplyRequest {
    /// The documents, in the order in which they are applied.
    pub documents: Vec<ApplyDocument>,
    /// Tell what would be done, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// A document and where its lines stand.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplyDocument {
    /// The document.
    pub document: Document,
    /// Where its fields stand in the file it came from.
    #[serde(default)]
    pub lines: Option<Lines>,
}

/// What was done, a document each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplyReply {
    /// One result for each document, in their order.
    pub results: Vec<Applied>,
}

/// What applying a document did.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Id of the sandbox.
    pub id: String,
    /// What happened.
    pub change: Change,
    /// Where it is attached, as people write it: `veth7`, `veth7@web`.
    pub device: String,
    /// How: `tcx` or `clsact`.
    #[serde(default)]
    pub hook: String,
    /// Generation before an update.
    #[serde(default)]
    pub generation_before: Option<u32>,
    /// Generation that is in effect now (in a dry run: that would be).
    pub generation: u32,
    /// List entries that were added, as written (`+allowOut 1.2.3.0/24`).
    pub added: Vec<String>,
    /// List entries that were removed.
    pub removed: Vec<String>,
    /// Fields outside the lists that changed.
    pub fields: Vec<String>,
    /// From the request's arrival at this sandbox until the kernel confirmed that no packet is judged by an older policy,
    /// milliseconds.
    pub confirmed_ms: f64,
    /// What the author may not have meant.
    pub warnings: Vec<Problem>,
}

/// What applying a document did to the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Created,
    /// It was there and is different now.
    Updated,
    /// It was there and is the same.
    Unchanged,
}

/// A sandbox ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// Its id.
    pub id: String,
    /// Its device.
    pub device: String,
    /// What became of the device.
    pub state: EndState,
}

/// What became of a device whose sandbox ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndState {
    /// Nothing passes until it vanishes or is detached.
    Sealed,
    /// It is not filtered any more.
    Detached,
    /// It was gone already.
    Gone,
}

/// A sandbox as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxStatus {
    /// Its id.
    pub id: String,
    /// Its name for people.
    #[serde(default)]
    pub name: Option<String>,
    /// How it is.
    pub state: State,
    /// Where it is attached: `veth7`, `veth7@web`.
    pub device: String,
    /// How: `tcx` or `clsact`.
    pub hook: String,
    /// Generation of the policy in effect.
    pub generation: u32,
    /// The document, without passwords.
    pub document: Document,
    /// Packets and bytes since it was attached.
    pub counters: CounterStatus,
    /// Resolvers that it asked in vain since the daemon started: denied packets to port 53, a few of them.
    #[serde(default)]
    pub denied_resolvers: Vec<IpAddr>,
    /// How it was asked for, if by the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// When it was created, seconds since 1970.
    pub created: u64,
    /// When it was last changed, seconds since 1970.
    pub updated: u64,
}

/// How a sandbox was asked for by the API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Id of the key whose it is; none: the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its template.
    pub template: String,
    /// Whether the provider has made it.
    pub provided: bool,
    /// When it ends by itself, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<u64>,
    /// What the one who asked has written down about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// How a sandbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its policy is enforced.
    Active,
    /// It was deleted; its device is shut.
    Sealed,
    /// Its device has vanished; apply the document again when there is a new one.
    Detached,
}

/// A sandbox's counters.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CounterStatus {
    /// Packets that passed.
    pub allowed: u64,
    /// Packets that were denied.
    pub denied: u64,
    /// Bytes that passed, link-layer headers included.
    pub bytes_allowed: u64,
    /// Bytes that were denied, link-layer headers included.
    pub bytes_denied: u64,
    /// Packets by the name of their reason, and what the sidecar has refused since the daemon started; reasons without any are left out.
    pub reasons: BTreeMap<String, u64>,
    /// Deny events that were told.
    pub events_sent: u64,
    /// Deny events that the rate limit held back.
    pub events_suppressed: u64,
    /// Deny events that were lost because the ring was full.
    pub events_lost: u64,
    /// Packets towards the sandbox that passed; `allowed` and `reasons` count those from the sandbox.
    #[serde(default)]
    pub inbound_allowed: u64,
    /// Their bytes.
    #[serde(default)]
    pub inbound_bytes: u64,
    /// Denied packets that were answered.
    #[serde(default)]
    pub rejects_sent: u64,
    /// Answers that the rate limit held back.
    #[serde(default)]
    pub rejects_suppressed: u64,
}

/// A denied packet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DenyEvent {
    /// When, milliseconds since 1970.
    pub time_ms: u64,
    /// Id of the sandbox.
    pub id: String,
    /// Number of the reason.
    pub reason: u8,
    /// Name of the reason.
    pub reason_name: String,
    /// Generation of the policy that judged; 0 when the denial came before the policy.
    pub generation: u32,
    /// What kind of packet: `tcp`, `udp`, `icmp`, `icmpv6`, `arp`, `ip 47`, `ethertype 0x88cc`.
    pub protocol: String,
    /// Source address, where the packet has one.
    #[serde(default)]
    pub source: Option<IpAddr>,
    /// Destination address, where the packet has one.
    #[serde(default)]
    pub destination: Option<IpAddr>,
    /// Source port.
    #[serde(default)]
    pub source_port: Option<u16>,
    /// Destination port.
    #[serde(default)]
    pub destination_port: Option<u16>,
    /// The name that was asked for, escaped, where the sidecar judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Length in bytes, link-layer header included; 0 where the sidecar judged.
    pub length: u32,
}

/// Denials that a watcher was not told of, because it reads more slowly than they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Missed {
    /// How many, of all sandboxes.
    pub missed: u64,
}

/// A key of the API to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// Whether whoever has it is the operator: sees every sandbox, and says where new ones are attached.
    #[serde(default)]
    pub operator: bool,
}

/// A key of the API.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// What it is revoked by.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Whether whoever has it is the operator.
    pub operator: bool,
    /// When it was made, seconds since 1970.
    pub created: u64,
    /// What is sent as `X-API-Key`; told once, when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Why a request failed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorReply {
    /// The HTTP status.
    pub code: u16,
    /// What is wrong, on one line.
    pub message: String,
    /// What to do about it.
    #[serde(default)]
    pub hint: Option<String>,
    /// What is wrong with the documents, if that is it.
    #[serde(default)]
    pub problems: Vec<Problem>,
}
