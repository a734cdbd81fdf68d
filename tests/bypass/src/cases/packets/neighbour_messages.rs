//! Neighbour and router discovery sent on to the denied address.

use crate::case::Case;
use crate::frames;
use crate::frames::packet;
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("neighbour-messages", "neighbour and router discovery sent on to the denied address", attempt)
        .root()
        .v6();

fn attempt(target: &Target) -> Result<()> {
    let content = [&[0; 3], [0; 21].as_slice(), target.canary.as_bytes()].concat();
    for kind in [133, 134, 135, 136, 137] {
        let content = [&[kind], content.as_slice()].concat();
        frames::send(target, &[packet(target, target.denied, 58, &content).hops(255)])?;
    }
    Ok(())
}
