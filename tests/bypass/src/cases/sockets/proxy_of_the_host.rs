//! A proxy that the host runs for others.

use crate::attack::through_relay;
use crate::case::Case;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case = Case::new("proxy-of-the-host", "a proxy that the host runs for others", attempt);

fn attempt(target: &Target) -> Result<()> {
    through_relay(target.host, target.denied(8080), &target.canary)
}
