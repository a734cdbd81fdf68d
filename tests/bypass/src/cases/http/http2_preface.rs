//! HTTP/2 from the first byte on.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("http2-preface", "HTTP/2 from the first byte on", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let canary = &target.canary;
    say(target.allowed(80), format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{canary}")).map(drop)
}
