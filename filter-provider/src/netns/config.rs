//! What the operator says of namespaces that are made here.

use crate::Error;
use crate::netns::Pool;
use filter_policy::address;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::net::{IpAddr, Ipv4Addr};

/// The most nameservers that a C library reads.
const MAX_NAMESERVERS: usize = 3;
/// The most connections that a sandbox can be given: what the kernel's table holds on a large host.
const MAX_CONNECTIONS: u32 = 1 << 20;

/// Namespaces on this host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Prefixes that sandboxes get addresses from, two of each family that is here: one for the host's side, one for the sandbox.
    #[serde(deserialize_with = "prefixes")]
    pub pool: Vec<IpNet>,
    /// The device that leads to the internet. What leaves by it has the host's address.
    pub uplink: String,
    /// Connections that one sandbox may have through the host at a time, of both families together.
    #[serde(default = "connections")]
    pub connections: u32,
    /// Who resolves names for programs in a sandbox: 1 to 3.
    #[serde(default = "nameservers")]
    pub nameservers: Vec<IpAddr>,
}

impl Config {
    /// Checks what can be checked without the host.
    pub(super) fn check(&self) -> Result<Pool, Error> {
        let pool = Pool::new(&self.pool).map_err(|reason| Error::config("netns.pool", reason))?;
        let good = |byte: u8| byte.is_ascii_graphic() && !b"/:\"\\".contains(&byte);
        if !(1..16).contains(&self.uplink.len()) || !self.uplink.bytes().all(good) || self.uplink.starts_with('.') {
            return Err(Error::config("netns.uplink", format!("{:?} is not the name of a device", self.uplink)));
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.connections) {
            return Err(Error::config("netns.connections", format!("must be from 1 to {MAX_CONNECTIONS}")));
        }
        if !(1..=MAX_NAMESERVERS).contains(&self.nameservers.len()) {
            return Err(Error::config("netns.nameservers", format!("must be 1 to {MAX_NAMESERVERS} addresses")));
        }
        Ok(pool)
    }
}

fn connections() -> u32 {
    4096
}

fn nameservers() -> Vec<IpAddr> {
    vec![IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8))]
}

/// CIDRs, host bits dropped, as everywhere else.
fn prefixes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parsed = texts.iter().map(|text| address::prefix(text).map_err(|e| D::Error::custom(format!("{text:?}: {e}"))));
    parsed.collect()
}
