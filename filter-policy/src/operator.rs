//! The operator's configuration, as far as policy needs it.
//!
//! Invariant: nothing a sandbox's user writes changes any of this.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::address;

/// What the operator decides for every sandbox of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Operator {
    /// Protected ranges that are opened: their addresses are judged by the lists. `0.0.0.0/0` opens IPv4 only.
    #[serde(deserialize_with = "prefixes")]
    pub open_ranges: Vec<IpNet>,
    /// Resolvers whose port 53 is never protected, and is allowed to every policy with names.
    pub nameservers: Vec<IpAddr>,
    /// How much one document may ask for.
    pub limits: Limits,
}

impl Default for Operator {
    fn default() -> Operator {
        Operator {
            open_ranges: Vec::new(),
            nameservers: vec![IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8))],
            limits: Limits::default(),
        }
    }
}

/// How much one document may ask for; lengths are in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Hosts in `rules`.
    pub rule_hosts: usize,
    /// Transforms of one host.
    pub transforms_per_host: usize,
    /// Headers of one transform.
    pub headers_per_transform: usize,
    /// Length of a host key.
    pub host_bytes: usize,
    /// Length of a header name.
    pub header_name_bytes: usize,
    /// Length of a header value.
    pub header_value_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rule_hosts: 10,
            transforms_per_host: 1,
            headers_per_transform: 20,
            host_bytes: 128,
            header_name_bytes: 64,
            header_value_bytes: 2048,
        }
    }
}

/// CIDRs and bare addresses, host bits dropped, as everywhere else.
fn prefixes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .iter()
        .map(|text| address::prefix(text).map_err(|e| D::Error::custom(format_args!("{text:?}: {e}"))))
        .collect()
}
