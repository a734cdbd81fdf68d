//! Two Hosts, the first or the last of them allowed.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("two-hosts", "two Hosts, the first or the last of them allowed", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let denied = target.denied_name();
    for (first, last) in [(ALLOWED_NAME, denied.as_str()), (denied.as_str(), ALLOWED_NAME)] {
        say(target.allowed(80), format!("GET / HTTP/1.1\r\nHost: {first}\r\nHost: {last}\r\n\r\n"))?;
    }
    Ok(())
}
