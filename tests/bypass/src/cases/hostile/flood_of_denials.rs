//! Thousands of denied datagrams, more than anybody is told of.

use crate::attack::udp;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("flood-of-denials", "thousands of denied datagrams, more than anybody is told of", attempt);

fn attempt(target: &Target) -> Result<()> {
    let socket = udp(target.denied)?;
    for _ in 0..3_000 {
        drop(socket.send_to(target.canary.as_bytes(), target.denied(PORT)));
    }
    Ok(())
}
