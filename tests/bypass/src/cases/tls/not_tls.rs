//! What is no TLS: HTTP, SSH, nothing that anybody knows.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("not-tls", "what is no TLS: HTTP, SSH, nothing that anybody knows", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let canary = &target.canary;
    for words in [
        format!("GET /{canary} HTTP/1.1\r\nHost: {ALLOWED_NAME}\r\n\r\n"),
        format!("SSH-2.0-{canary}\r\n"),
        format!("\u{16}\u{3}\u{1}{canary}"),
    ] {
        say(target.allowed(443), words)?;
    }
    Ok(())
}
