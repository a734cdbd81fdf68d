//! A priority tag, which a kernel takes off, in front of the packet.

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("vlan-zero", "a priority tag, which a kernel takes off, in front of the packet", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    frames::send(target, &[datagram(target, target.denied).tag(0x8100, 0)])
}
