//! A target with a host of its own beside the allowed Host.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("absolute-target", "a target with a host of its own beside the allowed Host", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let denied = target.denied_name();
    say(target.allowed(80), format!("GET http://{denied}/ HTTP/1.1\r\nHost: {ALLOWED_NAME}\r\n\r\n")).map(drop)
}
