//! A socket connected to the allowed address, then to the denied one.

use crate::attack::udp;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("udp-reconnect", "a socket connected to the allowed address, then to the denied one", attempt);

fn attempt(target: &Target) -> Result<()> {
    let socket = udp(target.denied)?;
    socket.connect(target.allowed(PORT))?;
    socket.connect(target.denied(PORT))?;
    socket.send(target.canary.as_bytes())?;
    Ok(())
}
