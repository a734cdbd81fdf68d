//! Segments of TCP without a connection: ACK, FIN, RST, none, all flags.

use crate::case::Case;
use crate::frames;
use crate::frames::segment;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("stray-segments", "segments of TCP without a connection: ACK, FIN, RST, none, all flags", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let frames: Vec<_> = [0x10, 0x11, 0x04, 0x00, 0x3f].map(|flags| segment(target, target.denied, flags)).into();
    frames::send(target, &frames)
}
