//! A socket connected to the allowed address that sends to the denied one.

use crate::attack::udp;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("udp-elsewhere", "a socket connected to the allowed address that sends to the denied one", attempt);

fn attempt(target: &Target) -> Result<()> {
    let socket = udp(target.denied)?;
    socket.connect(target.allowed(PORT))?;
    socket.send_to(target.canary.as_bytes(), target.denied(PORT))?;
    Ok(())
}
