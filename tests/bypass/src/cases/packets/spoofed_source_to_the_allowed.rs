//! The address of another sandbox as the source, to the allowed address.

use crate::case::Case;
use crate::frames;
use crate::frames::datagram;
use crate::target::Target;
use anyhow::Result;
use std::net::IpAddr;

pub(super) const CASE: Case = Case::new(
    "spoofed-source-to-the-allowed",
    "the address of another sandbox as the source, to the allowed address",
    attempt,
)
.root();

fn attempt(target: &Target) -> Result<()> {
    let source: IpAddr =
        if target.is_v4() { [198, 51, 100, 66].into() } else { [0x2001, 0xdb8, 0xa0ff, 0, 0, 0, 0, 2].into() };
    frames::send(target, &[datagram(target, target.allowed).from(&source.to_string())])
}
