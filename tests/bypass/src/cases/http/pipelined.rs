//! Another Host in a request that does not wait for an answer.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("pipelined", "another Host in a request that does not wait for an answer", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let denied = target.denied_name();
    say(
        target.allowed(80),
        format!("GET / HTTP/1.1\r\nHost: {ALLOWED_NAME}\r\n\r\nGET / HTTP/1.1\r\nHost: {denied}\r\n\r\n"),
    )
    .map(drop)
}
