//! A connected socket from before the policy was tightened.

use crate::attack::udp;
use crate::case::{Case, Policy};
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("open-datagram-socket", "a connected socket from before the policy was tightened", attempt)
        .against(Policy::Tightened);

fn attempt(target: &Target) -> Result<()> {
    let socket = udp(target.denied)?;
    socket.connect(target.denied(PORT))?;
    target.wait()?;
    socket.send(target.canary.as_bytes())?;
    Ok(())
}
