//! A connection to port 80 of the denied address, with the allowed name in the request.

use crate::attack::say;
use crate::case::Case;
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case = Case::new(
    "tcp-connect-port-80",
    "a connection to port 80 of the denied address, with the allowed name in the request",
    attempt,
);

fn attempt(target: &Target) -> Result<()> {
    say(target.denied(80), format!("GET /{} HTTP/1.1\r\nHost: {ALLOWED_NAME}\r\n\r\n", target.canary)).map(drop)
}
