//! Data in echo requests and replies.

use crate::case::Case;
use crate::frames;
use crate::frames::packet;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case = Case::new("icmp-tunnel", "data in echo requests and replies", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let kinds: [u8; 2] = if target.is_v4() { [8, 0] } else { [128, 129] };
    let protocol = if target.is_v4() { 1 } else { 58 };
    for kind in kinds {
        let content = [&[kind, 0, 0, 0, 0, 1, 0, 1], target.canary.as_bytes()].concat();
        frames::send(target, &[packet(target, target.denied, protocol, &content)])?;
    }
    Ok(())
}
