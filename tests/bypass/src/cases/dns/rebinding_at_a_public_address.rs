//! The same, sent to a public address: the name leads where it leads.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{REBOUND_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case = Case::new(
    "rebinding-at-a-public-address",
    "the same, sent to a public address: the name leads where it leads",
    attempt,
)
.against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    say(target.denied(80), format!("GET /{} HTTP/1.1\r\nHost: {REBOUND_NAME}\r\n\r\n", target.canary)).map(drop)
}
