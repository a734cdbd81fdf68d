//! A buffer that the kernel cuts into datagrams (UDP_SEGMENT).

use crate::attack::socket;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::UdpGsoSegment;
use socket2::Type;

pub(super) const CASE: Case =
    Case::new("segmented-datagrams", "a buffer that the kernel cuts into datagrams (UDP_SEGMENT)", attempt);

fn attempt(target: &Target) -> Result<()> {
    let socket = socket(target.denied(PORT), Type::DGRAM, None)?;
    setsockopt(&socket, UdpGsoSegment, &64)?;
    let bytes = target.canary.repeat(20);
    socket.send_to(bytes.as_bytes(), &target.denied(PORT).into())?;
    Ok(())
}
