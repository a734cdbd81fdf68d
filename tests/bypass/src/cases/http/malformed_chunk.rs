//! A second request behind a chunk whose length is none.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("malformed-chunk", "a second request behind a chunk whose length is none", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let denied = target.denied_name();
    say(target.allowed(80), format!("POST / HTTP/1.1\r\nHost: {ALLOWED_NAME}\r\nTransfer-Encoding: chunked\r\n\r\n0x0\r\n\r\nGET / HTTP/1.1\r\nHost: {denied}\r\n\r\n")).map(drop)
}
