//! Names that end, begin or look like the allowed one.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("lookalike-hosts", "names that end, begin or look like the allowed one", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let canary = &target.canary;
    for name in [
        format!("{canary}{ALLOWED_NAME}"),
        format!("{ALLOWED_NAME}.{canary}.test"),
        format!("{canary}.{ALLOWED_NAME}"),
        format!("{}.", target.denied_name()),
        format!("{}:80", target.denied_name()),
    ] {
        say(target.allowed(80), format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n"))?;
    }
    Ok(())
}
