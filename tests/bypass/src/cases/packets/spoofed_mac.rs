//! Another MAC address as the source.

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case = Case::new("spoofed-mac", "another MAC address as the source", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    frames::send(target, &[datagram(target, target.denied).link_from([2, 0, 0, 0, 0, 0x99])])
}
