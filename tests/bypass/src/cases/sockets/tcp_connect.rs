//! A connection to the denied address.

use crate::attack::say;
use crate::case::Case;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case = Case::new("tcp-connect", "a connection to the denied address", attempt);

fn attempt(target: &Target) -> Result<()> {
    say(target.denied(8080), &target.canary).map(drop)
}
