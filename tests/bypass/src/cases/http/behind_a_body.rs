//! Another Host in what follows a body.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("behind-a-body", "another Host in what follows a body", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let denied = target.denied_name();
    say(target.allowed(80), format!("POST / HTTP/1.1\r\nHost: {ALLOWED_NAME}\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: {denied}\r\n\r\n")).map(drop)
}
