//! A proxy on the loopback addresses of the host.

use crate::attack::through_relay;
use crate::case::Case;
use crate::target::Target;
use anyhow::Result;
use std::net::{IpAddr, Ipv4Addr};

pub(super) const CASE: Case =
    Case::new("loopback-of-the-host", "a proxy on the loopback addresses of the host", attempt).shared();

fn attempt(target: &Target) -> Result<()> {
    let more: IpAddr = if target.is_v4() { [127, 0, 0, 2].into() } else { Ipv4Addr::LOCALHOST.to_ipv6_mapped().into() };
    for host in [target.host, more] {
        // One of them is enough.
        drop(through_relay(host, target.denied(8080), &target.canary));
    }
    Ok(())
}
