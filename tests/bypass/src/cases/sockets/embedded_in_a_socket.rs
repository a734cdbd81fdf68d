//! An IPv4 address inside one of IPv6, from an ordinary socket (NAT64, 6to4, Teredo).

use crate::attack::send;
use crate::case::{Case, Policy};
use crate::target::{PORT, Target};
use anyhow::Result;
use std::net::{Ipv6Addr, SocketAddr};

pub(super) const CASE: Case = Case::new(
    "embedded-in-a-socket",
    "an IPv4 address inside one of IPv6, from an ordinary socket (NAT64, 6to4, Teredo)",
    attempt,
)
.v6()
.against(Policy::Listed);

fn attempt(target: &Target) -> Result<()> {
    let four = target.denied_halves();
    let to = [
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, four[0], four[1]),
        Ipv6Addr::new(0x2002, four[0], four[1], 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, !four[0], !four[1]),
    ];
    for address in to {
        // One that is denied does not keep the others from being tried.
        drop(send(SocketAddr::new(address.into(), PORT), &target.canary));
    }
    Ok(())
}
