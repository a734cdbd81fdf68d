//! What one sandbox may have the sidecar do: what is beyond is refused, and others do not feel it.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Limits of each sandbox, set by the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Sockets at a time: its own connections, and those to servers.
    pub sockets: u32,
    /// Of its connections those whose hello or first request is not whole yet.
    pub unjudged: u32,
    /// How long a hello, or the head of a request, may take, in milliseconds.
    pub patience_ms: u32,
    /// What its sockets may hold in the kernel's buffers, in bytes. Sockets that come when the first ones could fill half of it have buffers of a
    /// fixed size, so that all of them fit into the other half.
    pub buffered_bytes: u64,
    /// Names that are looked up at a time; others wait.
    pub lookups: u32,
    /// Names whose addresses are remembered.
    pub cached_names: u32,
    /// Refusals that are told with the name, a second. All of them are counted.
    pub told_per_second: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            sockets: 2_048,
            unjudged: 256,
            patience_ms: 10_000,
            buffered_bytes: 1 << 30,
            lookups: 32,
            cached_names: 1_024,
            told_per_second: 50,
        }
    }
}

impl Limits {
    /// [`Self::patience_ms`].
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms.into())
    }
}
