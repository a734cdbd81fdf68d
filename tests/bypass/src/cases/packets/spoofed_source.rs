//! The address of a sandbox that nothing holds as the source.

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("spoofed-source", "the address of a sandbox that nothing holds as the source", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    frames::send(target, &[datagram(target, target.denied).from(&target.neighbour.to_string())])
}
