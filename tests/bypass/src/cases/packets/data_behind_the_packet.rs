//! Data behind a packet, where Ethernet fills up.

use crate::case::Case;
use crate::frames;
use crate::frames::segment;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("data-behind-the-packet", "data behind a packet, where Ethernet fills up", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let (header, data) = (20, target.canary.as_bytes());
    let opens = segment(target, target.denied, 0x02).transport_length(header);
    frames::send(target, &[opens.trailer(data.len()).trailer_bytes(0, data)])
}
