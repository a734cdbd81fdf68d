//! A datagram to the denied address, written to the device.

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("plain-datagram", "a datagram to the denied address, written to the device", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    frames::send(target, &[datagram(target, target.denied)])
}
