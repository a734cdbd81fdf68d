//! One attack.

use crate::target::Target;
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// What an attacker tries, and what it needs for it.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What is tried, in a line.
    pub what: &'static str,
    /// Who can try it.
    pub rights: Rights,
    /// The families that it is tried with.
    pub families: &'static [Family],
    /// What the sandbox may do.
    pub policy: Policy,
    /// What the filter makes of it.
    pub end: End,
    /// The attempt, with each of the families. What fails in it is none of the witness's concern.
    pub attempt: fn(&Target) -> Result<()>,
}

/// Kinds of attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    /// Packets made by hand.
    Packets,
    /// Sockets, devices, processes.
    Sockets,
    /// Names and who resolves them.
    Dns,
    /// TLS on port 443.
    Tls,
    /// HTTP on port 80.
    Http,
    /// A sandbox that wears the filter down first.
    Hostile,
}

/// Who can try it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Any process.
    Any,
    /// Root of a network namespace.
    Root,
    /// Any process, but only where the host's network is shared.
    Shared,
}

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What a sandbox may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Reach one address of each family, and nothing else.
    Addresses,
    /// Reach servers by one name, on the ports of names, and nothing else.
    Names,
    /// Reach everything but one address of each family.
    Listed,
    /// Reach what it wants, ranges that are always protected among it.
    Everything,
    /// [`Policy::Everything`] until the attacker is ready, then [`Policy::Addresses`].
    Tightened,
}

/// What the filter makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The witness sees nothing.
    Stopped,
    /// The filter does not claim to stop it; what `docs/limits.md` calls it.
    OutOfReach(&'static str),
}

impl Case {
    /// An attack by anybody, over both families, against [`Policy::Addresses`].
    pub(crate) const fn new(name: &'static str, what: &'static str, attempt: fn(&Target) -> Result<()>) -> Case {
        Case {
            name,
            what,
            rights: Rights::Any,
            families: &[Family::V4, Family::V6],
            policy: Policy::Addresses,
            end: End::Stopped,
            attempt,
        }
    }

    /// Only root of a namespace can try it.
    pub(crate) const fn root(mut self) -> Case {
        self.rights = Rights::Root;
        self
    }

    /// It makes sense on the host's network only.
    pub(crate) const fn shared(mut self) -> Case {
        self.rights = Rights::Shared;
        self
    }

    /// It is about IPv4.
    pub(crate) const fn v4(mut self) -> Case {
        self.families = &[Family::V4];
        self
    }

    /// It is about IPv6.
    pub(crate) const fn v6(mut self) -> Case {
        self.families = &[Family::V6];
        self
    }

    /// Against another policy.
    pub(crate) const fn against(mut self, policy: Policy) -> Case {
        self.policy = policy;
        self
    }

    /// The filter does not claim to stop it.
    pub(crate) const fn out_of_reach(mut self, limit: &'static str) -> Case {
        self.end = End::OutOfReach(limit);
        self
    }
}
