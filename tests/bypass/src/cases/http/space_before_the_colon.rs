//! A second Host with a space before its colon.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("space-before-the-colon", "a second Host with a space before its colon", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let denied = target.denied_name();
    say(target.allowed(80), format!("GET / HTTP/1.1\r\nHost : {denied}\r\nHost: {ALLOWED_NAME}\r\n\r\n")).map(drop)
}
