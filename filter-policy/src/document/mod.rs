//! The document that people write: YAML or JSON, camelCase, the same names everywhere.
//!
//! Invariant: a [`Document`] says exactly what was written, nothing added and nothing lost: an empty list stays an empty list
//! and an absent one means the same. It is what the store keeps and the API shows. Whether it makes sense is for
//! [`validate`](crate::validate()).

mod lines;
mod node;
mod parse;
mod schema;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use lines::Lines;
pub use parse::{MAX_DOCUMENT_BYTES, Parsed, check_unique, parse};

use crate::Secret;

/// A sandbox, as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// Version of the document's form: 1.
    pub version: u32,
    /// The sandbox's id.
    pub id: String,
    /// Free text for people.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Where its packets come from.
    pub attach: Attach,
    /// What it may send from.
    pub addresses: Addresses,
    /// The MAC address it must send from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mac: Option<String>,
    /// Addresses of its gateway; none: those of the device or of its bridge.
    #[serde(default)]
    pub gateway: Vec<String>,
    /// Whether DHCP and router solicitation with the gateway pass.
    #[serde(default)]
    pub dhcp: bool,
    /// Who may open connections to it.
    #[serde(default)]
    pub inbound_from: Vec<String>,
    /// What a denied packet gets.
    #[serde(default)]
    pub on_deny: OnDeny,
    /// Who it may send to, and how its public URLs behave.
    #[serde(default)]
    pub network: Network,
}

impl Document {
    /// A copy without password and without header values, for whoever does not own the sandbox.
    #[must_use]
    pub fn redacted(&self) -> Document {
        let mut copy = self.clone();
        if let Some(proxy) = &mut copy.network.egress_proxy {
            proxy.password = None;
        }
        for value in copy.network.rules.values_mut().flatten().flat_map(|rule| rule.transform.headers.values_mut()) {
            *value = Secret::new("[hidden]");
        }
        copy
    }
}

/// Where a sandbox is attached, as written: a device, perhaps in a namespace; a namespace; or a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attach {
    /// Name of a device.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interface: Option<String>,
    /// A namespace: a name, an absolute path, or `pid:N`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub netns: Option<String>,
    /// Absolute path of a cgroup.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cgroup: Option<String>,
    /// Whether processes in the cgroup may have capabilities that lead around its hooks.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub allow_privileged: bool,
}

/// What a sandbox may send from, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// The word `any`.
    Any,
    /// Addresses and prefixes.
    List(Vec<String>),
}

/// What a denied packet gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnDeny {
    /// An error that its sender sees at once.
    #[default]
    Reject,
    /// Nothing.
    Drop,
}

/// The network configuration, as written. The REST API takes the same, with `allow_internet_access` beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Network {
    /// `false` replaces the denied list by all traffic; `true` or nothing changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_internet_access: Option<bool>,
    /// Addresses, prefixes and names that are allowed.
    pub allow_out: Vec<String>,
    /// Addresses and prefixes that are denied.
    pub deny_out: Vec<String>,
    /// Headers to set on matching requests, by host.
    pub rules: BTreeMap<String, Vec<Rule>>,
    /// The proxy that outbound TCP is tunnelled through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_proxy: Option<EgressProxy>,
    /// Whether public URLs work without the traffic token.
    pub allow_public_traffic: bool,
    /// Host header for the service; `${PORT}` stands for the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_request_host: Option<String>,
    /// Ports of the sandbox that speak TLS themselves.
    pub https_ports: Vec<u16>,
}

impl Default for Network {
    fn default() -> Network {
        Network {
            allow_internet_access: None,
            allow_out: Vec::new(),
            deny_out: Vec::new(),
            rules: BTreeMap::new(),
            egress_proxy: None,
            allow_public_traffic: true,
            mask_request_host: None,
            https_ports: Vec::new(),
        }
    }
}

/// What happens to requests to one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rule {
    /// How the request is changed.
    pub transform: Transform,
}

/// How a request is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Transform {
    /// Headers to set, by name. A header of the same name is replaced.
    pub headers: BTreeMap<String, Secret>,
}

/// A SOCKS5 proxy, as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressProxy {
    /// `host:port`.
    pub address: String,
    /// User name, if it asks for one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub username: Option<String>,
    /// Password, if it asks for one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub password: Option<Secret>,
}

impl Serialize for Addresses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Addresses::Any => serializer.serialize_str("any"),
            Addresses::List(list) => list.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Addresses, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Addresses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of addresses or the word any")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Addresses, E> {
                if text == "any" { Ok(Addresses::Any) } else { Err(E::invalid_type(de::Unexpected::Str(text), &self)) }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Addresses, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(list)).map(Addresses::List)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
