//! A request with an address as its Host.

use crate::attack::{host, say};
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("address-as-host", "a request with an address as its Host", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let canary = &target.canary;
    say(target.allowed(80), format!("GET /{canary} HTTP/1.1\r\nHost: {}\r\n\r\n", host(target.allowed))).map(drop)
}
