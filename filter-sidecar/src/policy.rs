//! Where a policy lets a connection go.

use crate::{protocol, warm};
use anyhow::{Context, Result};
use filter_core::{Address, Reason};
use filter_policy::names::{Name, NamePattern};
use filter_policy::{Compiled, Entry, HandedOver, NameList, Operator, Way, compile};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// A policy, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    /// Its generation.
    pub(crate) generation: u32,
    names: NameList,
    /// Those of the names whose addresses are kept at hand.
    pub(crate) warm: Vec<Name>,
    /// Hosts that a rule is about.
    ruled: NameList,
    /// Whether all is for a proxy.
    is_proxied: bool,
    /// The lists of addresses, where they are known here.
    lists: Option<Compiled>,
    /// Protected ranges that a name may lead to.
    pub(crate) opened: Vec<IpNet>,
}

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// To whom its name leads.
    Name(Name),
    /// Where the sandbox has sent it.
    Address(SocketAddr),
}

impl Policy {
    pub(crate) fn new(policy: &protocol::Policy) -> Result<Policy> {
        let names = patterns(&policy.names)?;
        let exact = names.iter().filter_map(|pattern| match pattern {
            NamePattern::Exact(name) => Some(name.clone()),
            _ => None,
        });
        Ok(Policy {
            generation: policy.generation,
            warm: exact.take(warm::MOST).collect(),
            names: NameList::new((0..).zip(&names)),
            ruled: NameList::new((0..).zip(&patterns(&policy.ruled)?)),
            is_proxied: policy.is_proxied,
            lists: policy.lists.as_ref().map(|lists| compiled(lists, policy)),
            opened: policy.opened.clone(),
        })
    }

    /// Where a connection goes that is for a name, or for none, and was sent to an address.
    pub(crate) fn way(&self, name: Option<&Name>, to: SocketAddr) -> Result<Target, Reason> {
        let is_in = |list: &NameList| name.is_some_and(|name| list.find(name).is_some());
        let handed_over = HandedOver {
            is_proxied: self.is_proxied,
            has_name: name.is_some(),
            is_ruled: is_in(&self.ruled),
            is_named: is_in(&self.names),
            is_listed: self.lets_out(to.ip()),
        };
        match (handed_over.way()?, name) {
            (Way::Name, Some(name)) => Ok(Target::Name(name.clone())),
            _ => Ok(Target::Address(to)),
        }
    }

    /// Whether a connection may go on that went to a target, at the address of a server: by its name still, or because the lists allow it now.
    pub(crate) fn allows(&self, target: &Target, server: IpAddr) -> bool {
        let name = match target {
            Target::Name(name) => Some(name),
            Target::Address(_) => None,
        };
        self.way(name, SocketAddr::new(server, 0)).is_ok()
    }

    /// Whether the lists allow an address, where they are known here.
    pub(crate) fn lets_out(&self, to: IpAddr) -> bool {
        let listed = |lists: &Compiled| Reason::from_number(lists.lookup(&Address::from(to)).reason);
        self.lists.as_ref().and_then(listed).is_some_and(Reason::is_listed)
    }
}

fn patterns(names: &[String]) -> Result<Vec<NamePattern>> {
    let read = |text: &String| NamePattern::parse(text).with_context(|| format!("{text:?} is no name"));
    names.iter().map(read).collect()
}

fn compiled(lists: &protocol::Lists, policy: &protocol::Policy) -> Compiled {
    let entries = |prefixes: &[IpNet]| -> Vec<Entry<IpNet>> {
        prefixes.iter().map(|value| Entry { value: *value, text: String::new(), index: 0 }).collect()
    };
    let addresses = filter_policy::Policy {
        allow: entries(&lists.allow),
        deny: entries(&lists.deny),
        ..filter_policy::Policy::default()
    };
    let operator = Operator { open_ranges: policy.opened.clone(), nameservers: Vec::new(), ..Operator::default() };
    compile(&addresses, &operator, policy.generation.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(change: impl FnOnce(&mut protocol::Policy)) -> Policy {
        let mut written = protocol::Policy {
            generation: 7,
            names: vec!["a.test".to_owned(), "*.b.test".to_owned()],
            ..protocol::Policy::default()
        };
        change(&mut written);
        Policy::new(&written).unwrap()
    }

    fn way(policy: &Policy, name: &str, to: &str) -> Result<Target, Reason> {
        let name = (!name.is_empty()).then(|| Name::parse(name).unwrap());
        policy.way(name.as_ref(), to.parse().unwrap())
    }

    #[test]
    fn by_name_alone() {
        let policy = policy(|_| {});
        let by_name = |name: &str| Ok(Target::Name(Name::parse(name).unwrap()));
        assert_eq!(way(&policy, "a.test", "203.0.113.1:443"), by_name("a.test"));
        assert_eq!(way(&policy, "x.b.test", "203.0.113.1:443"), by_name("x.b.test"));
        assert_eq!(way(&policy, "b.test", "203.0.113.1:443"), Err(Reason::NameDenied));
        assert_eq!(way(&policy, "", "203.0.113.1:443"), Err(Reason::NoName));
    }

    #[test]
    fn what_the_lists_allow_goes_where_it_was_sent() {
        let policy = policy(|policy| {
            policy.ruled = vec!["ruled.test".to_owned()];
            policy.lists = Some(protocol::Lists {
                allow: vec!["203.0.113.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
                deny: vec!["0.0.0.0/0".parse().unwrap()],
            });
        });
        for (name, to) in [("c.test", "203.0.113.1:443"), ("", "203.0.113.1:80"), ("", "[2001:db8::1]:443")] {
            assert_eq!(way(&policy, name, to), Ok(Target::Address(to.parse().unwrap())));
        }
        assert_eq!(way(&policy, "c.test", "198.51.100.1:443"), Err(Reason::NameDenied));
        assert_eq!(way(&policy, "", "[2001:db9::1]:443"), Err(Reason::NoName));
        // A name comes before the address, and a rule is not passed by.
        assert!(matches!(way(&policy, "a.test", "203.0.113.1:443"), Ok(Target::Name(_))));
        assert_eq!(way(&policy, "ruled.test", "203.0.113.1:443"), Err(Reason::NotEnforced));
        let (allowed, denied) =
            ("203.0.113.1:443".parse::<SocketAddr>().unwrap(), "198.51.100.1:443".parse::<SocketAddr>().unwrap());
        assert!(policy.allows(&Target::Address(allowed), allowed.ip()));
        assert!(!policy.allows(&Target::Address(denied), denied.ip()));
        let named = |name| Target::Name(Name::parse(name).unwrap());
        assert!(policy.allows(&named("a.test"), denied.ip()), "by its name");
        assert!(policy.allows(&named("c.test"), allowed.ip()), "where the lists allow it");
        assert!(!policy.allows(&named("c.test"), denied.ip()));
        assert!(!policy.allows(&named("ruled.test"), allowed.ip()));
    }

    #[test]
    fn nothing_passes_a_proxy_by() {
        let policy = policy(|policy| {
            policy.is_proxied = true;
            policy.lists = Some(protocol::Lists::default());
        });
        for name in ["a.test", "c.test", ""] {
            assert_eq!(way(&policy, name, "203.0.113.1:443"), Err(Reason::NotEnforced));
        }
        let to: SocketAddr = "203.0.113.1:443".parse().unwrap();
        assert!(!policy.allows(&Target::Address(to), to.ip()));
    }
}
