//! IPv4 through a socket of IPv6, UDP (CVE-2026-25598).

use crate::attack::{send, udp};
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;
use std::net::{IpAddr, SocketAddr};

pub(super) const CASE: Case =
    Case::new("mapped-udp", "IPv4 through a socket of IPv6, UDP (CVE-2026-25598)", attempt).v4();

fn attempt(target: &Target) -> Result<()> {
    let IpAddr::V4(denied) = target.denied else { return Ok(()) };
    let to = SocketAddr::new(denied.to_ipv6_mapped().into(), PORT);
    send(to, &target.canary)?;
    let socket = udp(to.ip())?;
    socket.connect(to)?;
    socket.send(target.canary.as_bytes())?;
    Ok(())
}
