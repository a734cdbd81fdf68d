//! A checked egress policy.
//!
//! Invariant: every value was read from its text by [`validate`](crate::validate()); host bits are dropped; `deny` is what
//! really is denied, so that nobody has to remember `allowInternetAccess: false`.

use ipnet::IpNet;

use crate::{
    Secret, address,
    names::{Name, NamePattern},
};

/// Who a sandbox may send to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Addresses that are allowed whatever `deny` says. `0.0.0.0/0` covers IPv6 as well.
    pub allow: Vec<Entry<IpNet>>,
    /// Addresses that are denied unless allowed. `0.0.0.0/0` covers IPv6 as well. With `allowInternetAccess: false` this is
    /// that entry alone, and its text says so.
    pub deny: Vec<Entry<IpNet>>,
    /// Names that are allowed on ports 80 and 443.
    pub names: Vec<Entry<NamePattern>>,
    /// Headers to set on matching requests (`rules` on the wire).
    pub transforms: Vec<Transform>,
    /// The proxy that outbound TCP is tunnelled through.
    pub egress_proxy: Option<EgressProxy>,
    /// As written. `Some(false)` has replaced `deny`.
    pub allow_internet_access: Option<bool>,
}

impl Policy {
    /// Whether connections are judged by more than their addresses: by names, rules, or a proxy.
    #[must_use]
    pub fn is_captured(&self) -> bool {
        !self.names.is_empty() || !self.transforms.is_empty() || self.egress_proxy.is_some()
    }

    /// Text of the one `deny` entry that `allowInternetAccess: false` makes.
    pub const NO_INTERNET: &str = "allowInternetAccess: false";

    /// Whether everything that is not allowed is denied, in both families.
    #[must_use]
    pub fn denies_by_default(&self) -> bool {
        self.deny.iter().any(|entry| address::is_all_traffic(&entry.value))
    }
}

/// An entry of a list: what it means, and what was written where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// What it means.
    pub value: T,
    /// The text as written.
    pub text: String,
    /// Position in the list as written, from 0.
    pub index: u32,
}

/// Headers to set on requests to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// The host, exact or `*.`.
    pub host: NamePattern,
    /// Name (lower case) and value of each header.
    pub headers: Vec<(String, Secret)>,
}

/// A SOCKS5 proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressProxy {
    /// Where it is.
    pub host: ProxyHost,
    /// Its TCP port.
    pub port: u16,
    /// User name, if it asks for one.
    pub username: Option<String>,
    /// Password, if it asks for one.
    pub password: Option<Secret>,
}

/// How a proxy is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyHost {
    /// By address.
    Address(std::net::IpAddr),
    /// By name, resolved on the host.
    Name(Name),
}
