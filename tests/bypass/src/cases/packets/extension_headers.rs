//! Extension headers in front of the transport header.

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("extension-headers", "extension headers in front of the transport header", attempt).root().v6();

fn attempt(target: &Target) -> Result<()> {
    let options: (u8, &[u8]) = (60, &[0, 1, 4, 0, 0, 0, 0]);
    frames::send(target, &[datagram(target, target.denied).headers(&[(0, options.1), options])])
}
