//! A later fragment whose first one never comes.

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("orphan-fragment", "a later fragment whose first one never comes", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    frames::send(target, &[datagram(target, target.denied).fragment(1_480, false)])
}
