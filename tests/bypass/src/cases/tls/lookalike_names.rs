//! Names that end, begin or look like the allowed one.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("lookalike-names", "names that end, begin or look like the allowed one", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let canary = &target.canary;
    for name in [
        format!("{canary}{ALLOWED_NAME}"),
        format!("{ALLOWED_NAME}.{canary}.test"),
        format!("{canary}.{ALLOWED_NAME}"),
        format!("{}.", target.denied_name()),
        target.denied_name().to_uppercase(),
        format!("*.{}", target.denied_name()),
    ] {
        say(target.allowed(443), ClientHello::named(name).wire())?;
    }
    Ok(())
}
