//! Which written entry decided.
//!
//! Invariant: the answer for an address agrees with [`compile()`](crate::compile()) but is found from the lists as written, so the two
//! check each other. The answer for a name is that of the [`NameList`], which the sidecar asks as well.

use filter_core::Address;
use ipnet::IpNet;

use crate::{
    Entry, NameList, Operator, Policy, address,
    names::{Name, NamePattern},
};

/// Why the lists of a policy answer as they do for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'p> {
    /// What decided.
    pub decided: Decided<'p>,
    /// The operator's range that opens the address, the most specific one.
    pub opened: Option<IpNet>,
    /// Whether the address is a configured nameserver.
    pub nameserver: bool,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided<'p> {
    /// The most specific covering entry of `allowOut`: allowed.
    Allowed(&'p Entry<IpNet>),
    /// The closest entry of `allowOut` that covers the name: allowed.
    Named(&'p Entry<NamePattern>),
    /// The most specific covering entry of `denyOut`: denied.
    Denied(&'p Entry<IpNet>),
    /// `allowInternetAccess: false`: denied.
    NoInternetAccess,
    /// No entry: allowed.
    Default,
}

impl Decided<'_> {
    /// The field that decided, as in [`Lines`](crate::Lines); nothing for the default.
    #[must_use]
    pub fn field(&self) -> Option<String> {
        match self {
            Decided::Allowed(Entry { index, .. }) | Decided::Named(Entry { index, .. }) => {
                Some(format!("network.allowOut[{index}]"))
            }
            Decided::Denied(entry) => Some(format!("network.denyOut[{}]", entry.index)),
            Decided::NoInternetAccess => Some("network.allowInternetAccess".to_owned()),
            Decided::Default => None,
        }
    }

    /// What was written there; nothing for the default.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Decided::Allowed(entry) | Decided::Denied(entry) => Some(&entry.text),
            Decided::Named(entry) => Some(&entry.text),
            Decided::NoInternetAccess => Some(Policy::NO_INTERNET),
            Decided::Default => None,
        }
    }

    /// Whether the address or the name is allowed.
    #[must_use]
    pub fn allows(&self) -> bool {
        matches!(self, Decided::Allowed(_) | Decided::Named(_) | Decided::Default)
    }
}

/// What decides for `address`. Looks at every entry: for people, not for packets.
#[must_use]
pub fn origin<'p>(policy: &'p Policy, operator: &Operator, address: &Address) -> Origin<'p> {
    let decided = match (narrowest(&policy.allow, address), narrowest(&policy.deny, address)) {
        (Some(entry), _) => Decided::Allowed(entry),
        (None, Some(_)) if policy.allow_internet_access == Some(false) => Decided::NoInternetAccess,
        (None, Some(entry)) => Decided::Denied(entry),
        (None, None) => Decided::Default,
    };
    let opened = operator.open_ranges.iter().filter(|net| covers(net, address)).max_by_key(|net| net.prefix_len());
    let nameserver = operator.nameservers.iter().any(|host| covers(&IpNet::from(*host), address));
    Origin { decided, opened: opened.copied(), nameserver }
}

/// The entry that covers `name`, if one does. Nothing is resolved. Looks at every entry, as [`origin`] does.
#[must_use]
pub fn named<'p>(policy: &'p Policy, name: &Name) -> Option<Decided<'p>> {
    let list = NameList::new((0..).zip(policy.names.iter().map(|entry| &entry.value)));
    let found = policy.names.get(usize::try_from(list.find(name)?).ok()?)?;
    Some(Decided::Named(found))
}

/// The covering entry with the longest prefix; the first of several.
fn narrowest<'p>(list: &'p [Entry<IpNet>], address: &Address) -> Option<&'p Entry<IpNet>> {
    let covering = list.iter().filter(|entry| covers(&entry.value, address) || address::is_all_traffic(&entry.value));
    covering.rev().max_by_key(|entry| entry.value.prefix_len())
}

/// Whether a prefix covers an address of its own family. An IPv4 address is never an IPv6 one here.
fn covers(net: &IpNet, address: &Address) -> bool {
    match (net, std::net::IpAddr::from(*address)) {
        (IpNet::V4(net), std::net::IpAddr::V4(address)) => net.contains(&address),
        (IpNet::V6(net), std::net::IpAddr::V6(address)) => net.contains(&address),
        _ => false,
    }
}
