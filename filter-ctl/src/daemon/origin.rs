//! Who asks by the API, and what is kept of how a sandbox was asked for.

use super::node::{Held, Node};
use super::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// The operator: by the local socket, or with an operator's key. Sees every sandbox.
    Operator,
    /// Whoever has the key with this id. Sees the sandboxes that it has created.
    Key(String),
}

impl Caller {
    /// Whose a sandbox is that this caller creates.
    pub(super) fn owner(&self) -> Option<String> {
        match self {
            Caller::Operator => None,
            Caller::Key(id) => Some(id.clone()),
        }
    }

    /// Whether a sandbox of this owner is there for this caller.
    pub(super) fn sees(&self, owner: Option<&str>) -> bool {
        match self {
            Caller::Operator => true,
            Caller::Key(id) => owner == Some(id),
        }
    }
}

/// How a sandbox was asked for by the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Origin {
    /// Id of the key whose it is; without one it is the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The template that it was made from.
    pub template: String,
    /// Whether the provider has made it, and ends it.
    pub provided: bool,
    /// Whether calls into the sandbox need a token.
    pub secure: bool,
    /// What the one who asked has written down about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// When it ends by itself, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<u64>,
    /// Which call has created it, if its client may send that again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
}

/// A create call that may come again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Idempotency {
    /// What its client calls it.
    pub key: String,
    /// SHA-256 of what it asks for, hexadecimal.
    pub request: String,
}

impl Held {
    /// Whether the provider has made it.
    pub(super) fn is_provided(&self) -> bool {
        self.record.origin.as_ref().is_some_and(|origin| origin.provided)
    }

    /// Whether it is being killed: what the provider has made is not gone yet.
    pub(super) fn is_ending(&self) -> bool {
        self.record.sealed && self.is_provided()
    }

    fn is_owned_by(&self, caller: &Caller) -> bool {
        caller.sees(self.record.origin.as_ref().and_then(|origin| origin.owner.as_deref()))
    }
}

impl Node {
    /// The sandboxes that have not ended and are there for this caller, by id.
    pub(super) fn all_for(&self, caller: &Caller) -> impl Iterator<Item = &Held> {
        self.sandboxes
            .iter()
            .filter(|(id, held)| !held.record.sealed && held.is_owned_by(caller) && !self.making.contains(*id))
            .map(|(_, held)| held)
    }

    /// The sandbox with this id, as far as it is there for this caller.
    pub(super) fn seen_by(&self, caller: &Caller, id: &str) -> Result<&Held, Refusal> {
        let unknown = || Refusal::Unknown(id.to_owned());
        let is_there = |held: &&Held| held.is_owned_by(caller) && !self.making.contains(id);
        let held = self.sandboxes.get(id).filter(is_there).ok_or_else(unknown)?;
        match held.record.sealed {
            false => Ok(held),
            true if held.is_ending() => Err(Refusal::Ending(id.to_owned())),
            true => Err(unknown()),
        }
    }
}
