//! Text that is never shown.
//!
//! Invariant: the text leaves a [`Secret`] only through [`Secret::reveal`] and through serialisation, which the store needs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A password or an injected header value. Its `Debug` output is always the same.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one who uses it. Never for a log, an event or an error.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}
