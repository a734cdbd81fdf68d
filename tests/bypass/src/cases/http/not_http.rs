//! What is no HTTP on port 80.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case = Case::new("not-http", "what is no HTTP on port 80", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    say(target.allowed(80), format!("SSH-2.0-{0}\r\n{0}", target.canary)).map(drop)
}
