//! A packet that says it is a fragment and is whole (RFC 6946).

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("atomic-fragment", "a packet that says it is a fragment and is whole (RFC 6946)", attempt).root().v6();

fn attempt(target: &Target) -> Result<()> {
    frames::send(target, &[datagram(target, target.denied).headers(&[(44, &[0, 0, 0, 0, 0, 0, 9])])])
}
