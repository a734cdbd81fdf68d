//! An upgrade to HTTP/2, and what is not HTTP/1 behind it.

use crate::attack::converse;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("http2-upgrade", "an upgrade to HTTP/2, and what is not HTTP/1 behind it", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let first = format!(
        "GET / HTTP/1.1\r\nHost: {ALLOWED_NAME}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    );
    let second = format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{}", target.canary);
    converse(target.allowed(80), &[first.as_bytes(), second.as_bytes()])
}
