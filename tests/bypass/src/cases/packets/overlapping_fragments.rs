//! Fragments that write over each other (RFC 5722).

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("overlapping-fragments", "fragments that write over each other (RFC 5722)", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let whole = datagram(target, target.denied);
    let parts = [whole.clone().fragment(0, true), whole.clone().fragment(8, true), whole.fragment(0, false)];
    frames::send(target, &parts)
}
