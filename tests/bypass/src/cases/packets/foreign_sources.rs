//! Addresses that are nobody's, or everybody's, as the source.

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;
use test_packets::Frame;

pub(super) const CASE: Case =
    Case::new("foreign-sources", "addresses that are nobody's, or everybody's, as the source", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let sources: [&str; 2] =
        if target.is_v4() { ["198.51.100.255", "203.0.113.250"] } else { ["2001:db8:ffff::1", "fd99::77"] };
    let frames: Vec<Frame> = sources.map(|source| datagram(target, target.denied).from(source)).into();
    frames::send(target, &frames)
}
