//! The request in segments of one byte.

use crate::attack::say_slowly;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("byte-by-byte-request", "the request in segments of one byte", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    say_slowly(target.allowed(80), format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", target.denied_name())).map(drop)
}
