//! GRE to the allowed address, with a packet for the denied one.

use crate::case::Case;
use crate::frames;
use crate::frames::{datagram, inner, packet};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("tunnel-gre", "GRE to the allowed address, with a packet for the denied one", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let kind = if target.is_v4() { [0x08, 0x00] } else { [0x86, 0xdd] };
    let content = [&[0, 0], kind.as_slice(), &inner(&datagram(target, target.denied))].concat();
    frames::send(target, &[packet(target, target.allowed, 47, &content)])
}
