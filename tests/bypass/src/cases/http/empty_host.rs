//! A request with an empty Host.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case = Case::new("empty-host", "a request with an empty Host", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let canary = &target.canary;
    say(target.allowed(80), format!("GET /{canary} HTTP/1.1\r\nHost: \r\n\r\n")).map(drop)
}
