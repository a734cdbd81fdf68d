//! A source route over the allowed address to the denied one.

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;
use std::net::IpAddr;

pub(super) const CASE: Case =
    Case::new("source-route", "a source route over the allowed address to the denied one", attempt).root().v4();

fn attempt(target: &Target) -> Result<()> {
    let IpAddr::V4(denied) = target.denied else { return Ok(()) };
    for kind in [131, 137] {
        let option = [&[kind, 7, 4][..], &denied.octets(), &[0]].concat();
        frames::send(target, &[datagram(target, target.allowed).options(&option)])?;
    }
    Ok(())
}
