//! The header of TCP in two fragments (RFC 1858).

use crate::case::Case;
use crate::frames;
use crate::frames::segment;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("tiny-fragment", "the header of TCP in two fragments (RFC 1858)", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let whole = segment(target, target.denied, 0x02);
    let first = whole.clone().transport_length(8).fragment(0, true);
    frames::send(target, &[first, whole.fragment(8, false)])
}
