//! UDP-Lite, which is neither UDP nor TCP.

use crate::attack::socket;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;
use socket2::{Protocol, Type};

pub(super) const CASE: Case = Case::new("udp-lite", "UDP-Lite, which is neither UDP nor TCP", attempt);

fn attempt(target: &Target) -> Result<()> {
    let socket = socket(target.denied(PORT), Type::DGRAM, Some(Protocol::UDPLITE))?;
    socket.send_to(target.canary.as_bytes(), &target.denied(PORT).into())?;
    Ok(())
}
