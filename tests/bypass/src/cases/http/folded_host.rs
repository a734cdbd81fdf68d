//! A Host that goes on in the next line.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("folded-host", "a Host that goes on in the next line", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let denied = target.denied_name();
    say(target.allowed(80), format!("GET / HTTP/1.1\r\nHost: {ALLOWED_NAME}\r\n {denied}\r\n\r\n")).map(drop)
}
