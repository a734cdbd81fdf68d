//! Messages of ICMP that carry data and are no echo: timestamps, information, experiments.

use crate::case::Case;
use crate::frames;
use crate::frames::packet;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case = Case::new(
    "icmp-others",
    "messages of ICMP that carry data and are no echo: timestamps, information, experiments",
    attempt,
)
.root();

fn attempt(target: &Target) -> Result<()> {
    let (protocol, kinds) = if target.is_v4() { (1, [13, 15, 253]) } else { (58, [139, 200, 201]) };
    for kind in kinds {
        let content = [&[kind, 0, 0, 0, 0, 1, 0, 1], target.canary.as_bytes()].concat();
        frames::send(target, &[packet(target, target.allowed, protocol, &content)])?;
    }
    Ok(())
}
