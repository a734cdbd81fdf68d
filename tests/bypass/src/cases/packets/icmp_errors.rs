//! Errors that quote a packet of an allowed connection.

use crate::case::Case;
use crate::frames;
use crate::frames::{datagram, inner, packet};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("icmp-errors", "errors that quote a packet of an allowed connection", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let quoted = inner(&datagram(target, target.allowed).reversed());
    let (protocol, kind) = if target.is_v4() { (1, 3) } else { (58, 1) };
    let content = [&[kind, 1, 0, 0, 0, 0, 0, 0], quoted.as_slice()].concat();
    frames::send(target, &[packet(target, target.denied, protocol, &content)])
}
