//! Protocols without ports: ESP, SCTP, UDP-Lite, and one for experiments.

use crate::case::Case;
use crate::frames;
use crate::frames::{packet, udp_of};
use crate::target::Target;
use anyhow::Result;
use test_packets::Frame;

pub(super) const CASE: Case =
    Case::new("other-protocols", "protocols without ports: ESP, SCTP, UDP-Lite, and one for experiments", attempt)
        .root();

fn attempt(target: &Target) -> Result<()> {
    let frames: Vec<Frame> = [50, 132, 136, 253]
        .map(|protocol| packet(target, target.denied, protocol, &udp_of(1, 2, target.canary.as_bytes())))
        .into();
    frames::send(target, &frames)
}
