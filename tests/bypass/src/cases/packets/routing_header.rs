//! A routing header over the allowed address to the denied one (types 0, 2 and 4).

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;
use std::net::IpAddr;

pub(super) const CASE: Case = Case::new(
    "routing-header",
    "a routing header over the allowed address to the denied one (types 0, 2 and 4)",
    attempt,
)
.root()
.v6();

fn attempt(target: &Target) -> Result<()> {
    let IpAddr::V6(denied) = target.denied else { return Ok(()) };
    for kind in [0, 2, 4] {
        let rest = [&[2, kind, 1, 0, 0, 0, 0][..], &denied.octets()].concat();
        frames::send(target, &[datagram(target, target.allowed).headers(&[(43, &rest)])])?;
    }
    Ok(())
}
