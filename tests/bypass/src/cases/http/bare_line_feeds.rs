//! Lines that end in a line feed alone.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("bare-line-feeds", "lines that end in a line feed alone", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let denied = target.denied_name();
    say(target.allowed(80), format!("GET / HTTP/1.1\nHost: {denied}\n\nGET / HTTP/1.1\r\nHost: {ALLOWED_NAME}\r\n\r\n"))
        .map(drop)
}
