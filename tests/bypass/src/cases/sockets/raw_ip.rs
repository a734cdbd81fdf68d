//! Packets with their own IP header from a raw socket.

use crate::attack::socket;
use crate::case::Case;
use crate::frames::{datagram, inner};
use crate::target::Target;
use anyhow::Result;
use socket2::{Protocol, Type};

pub(super) const CASE: Case = Case::new("raw-ip", "packets with their own IP header from a raw socket", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let socket = socket(target.denied(0), Type::RAW, Some(Protocol::from(255)))?;
    let packet = inner(&datagram(target, target.denied));
    socket.send_to(&packet, &target.denied(0).into())?;
    Ok(())
}
