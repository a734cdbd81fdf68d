//! More behind a NUL, a tab or a slash in the Host.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("bytes-in-host", "more behind a NUL, a tab or a slash in the Host", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    for between in ["\0", "\t", "/", "#", "?", "\\", "%00."] {
        let words = format!("GET / HTTP/1.1\r\nHost: {ALLOWED_NAME}{between}{}\r\n\r\n", target.denied_name());
        say(target.allowed(80), words)?;
    }
    Ok(())
}
