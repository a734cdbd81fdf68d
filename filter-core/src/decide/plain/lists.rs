//! What the shortest way asks of the tables and of the sandbox's addresses.

use crate::Address;
use crate::abi::{FlowKey, PolicyValue, SandboxConfig, SandboxFlags};
use crate::decide::{self, Tables, covered, flow};

/// What the shortest way asks for.
pub trait Lists {
    /// As [`Tables::policy`], of an address whose family is known.
    fn policy<const V4: bool>(&self, address: &Address) -> Option<PolicyValue>;

    /// Whether a living protected prefix may cover an address; `false` only when none does.
    fn may_be_living(&self, address: &Address) -> bool;

    /// Whether a connection that came in may be under way by this key; `false` only when none is.
    fn may_be_followed(&self, key: &FlowKey) -> bool;

    /// Whether the sandbox may speak as an address.
    #[inline(always)]
    fn owns(&self, sandbox: &SandboxConfig, address: &Address) -> bool {
        owns(sandbox, address)
    }

    /// Whether an address is the sandbox's.
    #[inline(always)]
    fn is_sandboxs(&self, sandbox: &SandboxConfig, address: &Address) -> bool {
        is_sandboxs(sandbox, address)
    }

    /// Whether an address may open connections to the sandbox.
    #[inline(always)]
    fn may_open(&self, sandbox: &SandboxConfig, address: &Address) -> bool {
        may_open(sandbox, address)
    }
}

/// Whether the sandbox may speak as an address.
#[inline(always)]
#[must_use]
pub fn owns(sandbox: &SandboxConfig, address: &Address) -> bool {
    decide::owns(sandbox, address)
}

/// Whether an address is the sandbox's; any is without the check of its source.
#[inline(always)]
#[must_use]
pub fn is_sandboxs(sandbox: &SandboxConfig, address: &Address) -> bool {
    sandbox.flags & SandboxFlags::ANY_SOURCE != 0 || covered(sandbox, address)
}

/// Whether an address may open connections to the sandbox.
#[inline(always)]
#[must_use]
pub fn may_open(sandbox: &SandboxConfig, address: &Address) -> bool {
    flow::may_open(sandbox, address)
}

impl<T: Tables> Lists for T {
    #[inline(always)]
    fn policy<const V4: bool>(&self, address: &Address) -> Option<PolicyValue> {
        Tables::policy(self, address)
    }

    #[inline(always)]
    fn may_be_living(&self, address: &Address) -> bool {
        self.living(address).is_some()
    }

    #[inline(always)]
    fn may_be_followed(&self, key: &FlowKey) -> bool {
        self.flow(key).is_some()
    }
}
