//! First lines that servers read differently.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("odd-first-lines", "first lines that servers read differently", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let denied = target.denied_name();
    for line in ["GET  / HTTP/1.1", " GET / HTTP/1.1", "GET /\tHTTP/1.1", "get / HTTP/1.1", "GET / HTTP/1.2", "GET /"] {
        say(target.allowed(80), format!("{line}\r\nHost: {denied}\r\n\r\n"))?;
    }
    Ok(())
}
