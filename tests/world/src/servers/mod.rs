//! Real servers. Each answers before the call that starts it returns, and ends with its guard.

pub(crate) mod dnsmasq;
pub(crate) mod echo;
pub(crate) mod liar;
pub(crate) mod nginx;
pub(crate) mod recorder;
pub(crate) mod scripted;

use std::time::Duration;

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(5);
