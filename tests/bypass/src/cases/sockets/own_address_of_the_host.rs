//! A proxy on the host, at the address that it sends from.

use crate::attack::through_relay;
use crate::case::Case;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("own-address-of-the-host", "a proxy on the host, at the address that it sends from", attempt).shared();

fn attempt(target: &Target) -> Result<()> {
    through_relay(target.own, target.denied(8080), &target.canary)
}
