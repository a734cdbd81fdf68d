//! A socket bound to the device that leads out.

use crate::attack::udp;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;
use socket2::Socket;

pub(super) const CASE: Case = Case::new("bound-to-the-device", "a socket bound to the device that leads out", attempt);

fn attempt(target: &Target) -> Result<()> {
    let socket = udp(target.denied)?;
    let socket = Socket::from(socket);
    socket.bind_device(Some(target.device.as_bytes()))?;
    socket.send_to(target.canary.as_bytes(), &target.denied(PORT).into())?;
    Ok(())
}
