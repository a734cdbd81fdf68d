//! IPv4 options in front of the transport header: record route, timestamp, router alert.

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case = Case::new(
    "ip-options",
    "IPv4 options in front of the transport header: record route, timestamp, router alert",
    attempt,
)
.root()
.v4();

fn attempt(target: &Target) -> Result<()> {
    for options in [&[7, 7, 4, 0, 0, 0, 0, 0][..], &[68, 8, 5, 0, 0, 0, 0, 0], &[148, 4, 0, 0]] {
        frames::send(target, &[datagram(target, target.denied).options(options)])?;
    }
    Ok(())
}
