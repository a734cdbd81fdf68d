//! A datagram from a socket that is connected to nobody.

use crate::attack::send;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("udp-unconnected", "a datagram from a socket that is connected to nobody", attempt);

fn attempt(target: &Target) -> Result<()> {
    send(target.denied(PORT), &target.canary)
}
