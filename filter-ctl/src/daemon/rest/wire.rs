//! The bodies of the API, under the names that its clients know.
//!
//! Beside what is named here a create call may have more: the clients of other hosts send it, and it is the provider's business. In a
//! network configuration nothing is unknown: what is not understood there might have been meant to deny something.

use filter_policy::document::{Addresses, Attach, EgressProxy, OnDeny, Rule};
use filter_policy::{Document, Network};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A sandbox to be.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewSandbox {
    /// Name of a template of the operator.
    #[serde(rename = "templateID")]
    pub(super) template: Option<String>,
    /// How long it lives, in seconds.
    pub(super) timeout: Option<u32>,
    /// Whether calls into it need a token.
    pub(super) secure: Option<bool>,
    #[serde(rename = "allow_internet_access")]
    pub(super) allow_internet_access: Option<bool>,
    pub(super) network: Option<NewNetwork>,
    pub(super) metadata: Option<BTreeMap<String, String>>,
    /// Whether it is to be put to sleep at its end.
    pub(super) auto_pause: Option<bool>,
    /// Its id: for the operator.
    #[serde(rename = "sandboxID")]
    pub(super) id: Option<String>,
    /// Where it is attached: for the operator. All that follows goes with it.
    pub(super) attach: Option<Attach>,
    pub(super) addresses: Option<Addresses>,
    pub(super) mac: Option<String>,
    #[serde(default)]
    pub(super) gateway: Vec<String>,
    #[serde(default)]
    pub(super) dhcp: bool,
    #[serde(default)]
    pub(super) inbound_from: Vec<String>,
    #[serde(default)]
    pub(super) on_deny: OnDeny,
    /// Whether the timeout seals an attachment that somebody else has made.
    #[serde(default)]
    pub(super) end_on_timeout: bool,
}

/// The network configuration of a create call.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct NewNetwork {
    allow_out: Vec<String>,
    deny_out: Vec<String>,
    rules: BTreeMap<String, Vec<Rule>>,
    egress_proxy: Option<EgressProxy>,
    allow_public_traffic: Option<bool>,
    mask_request_host: Option<String>,
    https_ports: Vec<u16>,
}

impl NewNetwork {
    /// The same in a document.
    pub(super) fn network(self, allow_internet_access: Option<bool>) -> Network {
        Network {
            allow_internet_access,
            allow_out: self.allow_out,
            deny_out: self.deny_out,
            rules: self.rules,
            egress_proxy: self.egress_proxy,
            allow_public_traffic: self.allow_public_traffic.unwrap_or(true),
            mask_request_host: self.mask_request_host,
            https_ports: self.https_ports,
        }
    }
}

/// Another network configuration.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
pub(super) struct NewEgress {
    #[serde(rename = "allow_internet_access")]
    pub(super) allow_internet_access: Option<bool>,
    pub(super) allow_out: Vec<String>,
    pub(super) deny_out: Vec<String>,
    #[serde(deserialize_with = "present")]
    pub(super) rules: Option<BTreeMap<String, Vec<Rule>>>,
    pub(super) egress_proxy: Option<EgressProxy>,
    #[serde(deserialize_with = "present")]
    allow_public_traffic: Option<IgnoredAny>,
    #[serde(deserialize_with = "present")]
    mask_request_host: Option<IgnoredAny>,
    #[serde(deserialize_with = "present")]
    https_ports: Option<IgnoredAny>,
}

impl NewEgress {
    /// A field that is there and can be set on create only.
    pub(super) fn create_only(&self) -> Option<&'static str> {
        let fields = [
            (&self.allow_public_traffic, "allowPublicTraffic"),
            (&self.mask_request_host, "maskRequestHost"),
            (&self.https_ports, "httpsPorts"),
        ];
        fields.into_iter().find(|(field, _)| field.is_some()).map(|(_, name)| name)
    }
}

/// A field that is there is no `null`.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// How long a sandbox lives from now on.
#[derive(Deserialize)]
pub(super) struct NewTimeout {
    /// In seconds.
    pub(super) timeout: u32,
}

/// How long a sandbox lives at least from now on.
#[derive(Deserialize)]
pub(super) struct Connect {
    /// In seconds.
    pub(super) timeout: Option<u32>,
}

/// What names a sandbox in every answer.
#[derive(Serialize)]
pub(super) struct Ids {
    #[serde(rename = "templateID")]
    pub(super) template: String,
    #[serde(rename = "sandboxID")]
    pub(super) id: String,
    #[serde(rename = "clientID")]
    pub(super) client: String,
}

/// A sandbox that one may work with.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sandbox {
    #[serde(flatten)]
    pub(super) ids: Ids,
    pub(super) envd_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) envd_access_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) traffic_access_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) domain: Option<String>,
}

/// A sandbox in a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    #[serde(flatten)]
    pub(super) ids: Ids,
    pub(super) started_at: String,
    pub(super) end_at: String,
    pub(super) envd_version: String,
    pub(super) cpu_count: u32,
    #[serde(rename = "memoryMB")]
    pub(super) memory_mb: u32,
    #[serde(rename = "diskSizeMB")]
    pub(super) disk_size_mb: u32,
    pub(super) state: &'static str,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Everything about a sandbox.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail {
    #[serde(flatten)]
    pub(super) listed: Listed,
    pub(super) allow_internet_access: Option<bool>,
    pub(super) network: ShownNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) domain: Option<String>,
}

/// A network configuration as it was given, without passwords.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownNetwork {
    allow_out: Vec<String>,
    deny_out: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rules: BTreeMap<String, Vec<Rule>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    egress_proxy: Option<EgressProxy>,
    allow_public_traffic: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask_request_host: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    https_ports: Vec<u16>,
}

impl ShownNetwork {
    /// What a document says; header values are for the sandbox's owner alone.
    pub(super) fn of(document: &Document, to_owner: bool) -> ShownNetwork {
        let redacted = document.redacted().network;
        let rules = if to_owner { document.network.rules.clone() } else { redacted.rules };
        ShownNetwork {
            allow_out: redacted.allow_out,
            deny_out: redacted.deny_out,
            rules,
            egress_proxy: redacted.egress_proxy,
            allow_public_traffic: redacted.allow_public_traffic,
            mask_request_host: redacted.mask_request_host,
            https_ports: redacted.https_ports,
        }
    }
}
