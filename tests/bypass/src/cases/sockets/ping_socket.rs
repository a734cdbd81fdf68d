//! Echo requests with data from a socket of ICMP.

use crate::attack::socket;
use crate::case::Case;
use crate::target::Target;
use anyhow::Result;
use socket2::{Protocol, Type};

pub(super) const CASE: Case = Case::new("ping-socket", "echo requests with data from a socket of ICMP", attempt);

fn attempt(target: &Target) -> Result<()> {
    let (protocol, kind) = if target.is_v4() { (Protocol::ICMPV4, 8) } else { (Protocol::ICMPV6, 128) };
    let socket = socket(target.denied(0), Type::DGRAM, Some(protocol))?;
    let message = [&[kind, 0, 0, 0, 0, 0, 0, 1], target.canary.as_bytes()].concat();
    socket.send_to(&message, &target.denied(0).into())?;
    Ok(())
}
