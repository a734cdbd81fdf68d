//! The denied IPv4 address inside one of NAT64 (RFC 6052).

use crate::case::{Case, Policy};
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;
use std::net::Ipv6Addr;

pub(super) const CASE: Case = Case::new("nat64", "the denied IPv4 address inside one of NAT64 (RFC 6052)", attempt)
    .root()
    .v6()
    .against(Policy::Listed);

fn attempt(target: &Target) -> Result<()> {
    let [a, b] = target.denied_halves();
    frames::send(target, &[datagram(target, Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b).into())])
}
