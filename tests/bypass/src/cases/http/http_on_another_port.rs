//! A request with the allowed name on a port that is none of names.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("http-on-another-port", "a request with the allowed name on a port that is none of names", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    say(target.allowed(8080), format!("GET /{} HTTP/1.1\r\nHost: {ALLOWED_NAME}\r\n\r\n", target.canary)).map(drop)
}
