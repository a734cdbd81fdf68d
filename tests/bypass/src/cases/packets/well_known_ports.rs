//! From and to the ports of DHCP, DNS and NTP.

use crate::case::Case;
use crate::frames;
use crate::frames::{UDP, packet, udp_of};
use crate::target::Target;
use anyhow::Result;
use test_packets::Frame;

pub(super) const CASE: Case =
    Case::new("well-known-ports", "from and to the ports of DHCP, DNS and NTP", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let frames: Vec<Frame> = [(68, 67), (67, 68), (546, 547), (53, 53), (123, 123)]
        .map(|(from, to)| packet(target, target.denied, UDP, &udp_of(from, to, target.canary.as_bytes())))
        .into();
    frames::send(target, &frames)
}
