//! Another Host in the second request of a connection.

use crate::attack::converse;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("second-request", "another Host in the second request of a connection", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let first = format!("GET / HTTP/1.1\r\nHost: {ALLOWED_NAME}\r\n\r\n");
    let second = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", target.denied_name());
    converse(target.allowed(80), &[first.as_bytes(), second.as_bytes()])
}
