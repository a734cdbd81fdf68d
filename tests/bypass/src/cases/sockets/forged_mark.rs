//! Marks of the filter and of the host on its packets.

use crate::attack::udp;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;
use socket2::Socket;

pub(super) const CASE: Case =
    Case::new("forged-mark", "marks of the filter and of the host on its packets", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    for mark in [1_u32, 0x5f17_0001, 0x5f17_0002, u32::MAX] {
        let socket = Socket::from(udp(target.denied)?);
        socket.set_mark(mark)?;
        socket.send_to(target.canary.as_bytes(), &target.denied(PORT).into())?;
    }
    Ok(())
}
