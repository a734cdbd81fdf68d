//! Data behind a packet that is allowed, where Ethernet fills up.

use crate::case::Case;
use crate::frames;
use crate::frames::{TCP, packet, segment};
use crate::target::Target;
use anyhow::Result;
use test_packets::Frame;

pub(super) const CASE: Case =
    Case::new("data-behind-the-packet", "data behind a packet that is allowed, where Ethernet fills up", attempt)
        .root();

fn attempt(target: &Target) -> Result<()> {
    let length = target.canary.len();
    let frame = arp_or_neighbour(target).trailer(length).trailer_bytes(0, target.canary.as_bytes());
    frames::send(target, &[frame])
}

/// A packet to an address that nobody has to be asked for, in a protocol that is denied.
fn arp_or_neighbour(target: &Target) -> Frame {
    packet(target, target.denied, TCP, segment(target, target.denied, 0x02).bytes().get(34..54).unwrap_or(&[0; 20]))
}
