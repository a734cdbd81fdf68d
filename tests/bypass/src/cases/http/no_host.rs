//! A request without a Host.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case = Case::new("no-host", "a request without a Host", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let canary = &target.canary;
    say(target.allowed(80), format!("GET /{canary} HTTP/1.0\r\n\r\n")).map(drop)
}
