//! A proxy in another sandbox, which nothing holds.

use crate::attack::through_relay;
use crate::case::Case;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("proxy-of-another-sandbox", "a proxy in another sandbox, which nothing holds", attempt);

fn attempt(target: &Target) -> Result<()> {
    through_relay(target.neighbour, target.denied(8080), &target.canary)
}
