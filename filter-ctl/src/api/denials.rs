//! The last denials of a sandbox.

use super::DenyEvent;
use serde::{Deserialize, Serialize};

/// The last denials of a sandbox that were told; the daemon keeps 256 of each in its memory, until it or the attachment ends.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Denials {
    /// Oldest first.
    pub denials: Vec<Denial>,
    /// Denials in the time asked for that were dropped to make room for later ones: the oldest.
    pub dropped: u64,
    /// Denials that the rate limit held back since the sandbox was attached: counted, and not here.
    pub suppressed: u64,
    /// Denials that were lost since then because the ring was full.
    pub lost: u64,
}

/// Like denials that came within a second.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Denial {
    /// The first one.
    #[serde(flatten)]
    pub event: DenyEvent,
    /// How many.
    pub count: u64,
    /// When the last one was, milliseconds since 1970.
    pub last_ms: u64,
}
