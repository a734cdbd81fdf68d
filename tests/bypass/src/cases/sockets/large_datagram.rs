//! A datagram that leaves in fragments.

use crate::attack::send;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case = Case::new("large-datagram", "a datagram that leaves in fragments", attempt);

fn attempt(target: &Target) -> Result<()> {
    send(target.denied(PORT), target.canary.repeat(200))
}
