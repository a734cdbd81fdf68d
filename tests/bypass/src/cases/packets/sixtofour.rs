//! The denied IPv4 address inside one of 6to4 (RFC 3056).

use crate::case::{Case, Policy};
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;
use std::net::Ipv6Addr;

pub(super) const CASE: Case = Case::new("sixtofour", "the denied IPv4 address inside one of 6to4 (RFC 3056)", attempt)
    .root()
    .v6()
    .against(Policy::Listed);

fn attempt(target: &Target) -> Result<()> {
    let [a, b] = target.denied_halves();
    frames::send(target, &[datagram(target, Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1).into())])
}
