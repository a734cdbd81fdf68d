//! A Host behind more fields than anybody reads.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("large-head", "a Host behind more fields than anybody reads", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let fields = format!("X: {}\r\n", "y".repeat(1_000)).repeat(80);
    say(target.allowed(80), format!("GET / HTTP/1.1\r\n{fields}Host: {}\r\n\r\n", target.denied_name())).map(drop)
}
