//! More extension headers than a parser may follow.

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("long-extension-chain", "more extension headers than a parser may follow", attempt).root().v6();

fn attempt(target: &Target) -> Result<()> {
    let options: (u8, &[u8]) = (60, &[0, 1, 4, 0, 0, 0, 0]);
    frames::send(target, &[datagram(target, target.denied).headers(&[options; 12])])
}
