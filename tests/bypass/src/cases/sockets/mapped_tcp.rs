//! IPv4 through a socket of IPv6, TCP.

use crate::attack::say;
use crate::case::Case;
use crate::target::Target;
use anyhow::Result;
use std::net::{IpAddr, SocketAddr};

pub(super) const CASE: Case = Case::new("mapped-tcp", "IPv4 through a socket of IPv6, TCP", attempt).v4();

fn attempt(target: &Target) -> Result<()> {
    let IpAddr::V4(denied) = target.denied else { return Ok(()) };
    say(SocketAddr::new(denied.to_ipv6_mapped().into(), 8080), &target.canary).map(drop)
}
