//! A request for the allowed name, to where the sandbox believes that it is.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("own-hosts-file", "a request for the allowed name, to where the sandbox believes that it is", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    // What arrives at the servers of the name is allowed: nothing of it may be found at the other address.
    say(target.denied(80), format!("GET / HTTP/1.1\r\nHost: {ALLOWED_NAME}\r\n\r\n")).map(drop)
}
