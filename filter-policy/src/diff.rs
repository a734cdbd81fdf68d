//! What an update changes.
//!
//! Invariant: two policies that answer the same for the same reasons have no difference: order, repetition, host bits and
//! the case of names do not count.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{Entry, Policy};

/// Entries that an update adds and removes, each with the list that it is in, as in `allowOut 8.8.8.8`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Diff {
    /// What the new policy has and the old one had not.
    pub added: Vec<String>,
    /// What the old policy had and the new one has not.
    pub removed: Vec<String>,
}

impl Diff {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.added.len(), self.removed.len()) {
            (0, 0) => f.write_str("no change"),
            (added, 0) => write!(f, "+{added} {}", entries(added)),
            (0, removed) => write!(f, "−{removed} {}", entries(removed)),
            (added, removed) => write!(f, "+{added} −{removed} entries"),
        }
    }
}

/// What changes from `old` to `new`. Values of headers and passwords are compared but not shown.
#[must_use]
pub fn diff(old: &Policy, new: &Policy) -> Diff {
    let (before, after) = (keys(old), keys(new));
    let missing = |from: &Keys, other: &Keys| {
        let gone = from.iter().filter(|(key, _)| !other.contains_key(*key));
        gone.map(|(_, text)| text.clone()).collect()
    };
    Diff { added: missing(&after, &before), removed: missing(&before, &after) }
}

/// Text to show, by list and meaning.
type Keys = BTreeMap<(&'static str, String), String>;

fn keys(policy: &Policy) -> Keys {
    let mut keys = Keys::new();
    add(&mut keys, "allowOut", &policy.allow);
    add(&mut keys, "allowOut", &policy.names);
    if policy.allow_internet_access == Some(false) {
        keys.insert(("allowInternetAccess", "false".to_owned()), Policy::NO_INTERNET.to_owned());
    } else {
        add(&mut keys, "denyOut", &policy.deny);
    }
    for transform in &policy.transforms {
        let mut meaning = transform.host.to_string();
        for (name, value) in &transform.headers {
            meaning += &format!("\n{name}: {}", value.reveal());
        }
        keys.insert(("rules", meaning), format!("rules {}", transform.host));
    }
    if let Some(proxy) = &policy.egress_proxy {
        let password = proxy.password.as_ref().map(crate::Secret::reveal);
        let meaning = format!("{:?} {} {:?} {password:?}", proxy.host, proxy.port, proxy.username);
        keys.insert(("egressProxy", meaning), "egressProxy".to_owned());
    }
    keys
}

fn add<T: fmt::Display>(keys: &mut Keys, list: &'static str, entries: &[Entry<T>]) {
    for entry in entries {
        keys.entry((list, entry.value.to_string())).or_insert_with(|| format!("{list} {}", entry.text));
    }
}

fn entries(count: usize) -> &'static str {
    if count == 1 { "entry" } else { "entries" }
}
