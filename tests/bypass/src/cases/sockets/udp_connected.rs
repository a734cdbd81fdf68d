//! A datagram from a connected socket.

use crate::attack::udp;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case = Case::new("udp-connected", "a datagram from a connected socket", attempt);

fn attempt(target: &Target) -> Result<()> {
    let socket = udp(target.denied)?;
    socket.connect(target.denied(PORT))?;
    socket.send(target.canary.as_bytes())?;
    Ok(())
}
