//! A first fragment without its transport header (RFC 7112).

use crate::case::Case;
use crate::frames;
use crate::frames::{UDP, datagram, packet};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("fragment-without-header", "a first fragment without its transport header (RFC 7112)", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let frame = packet(target, target.denied, UDP, &[]).fragment(0, true);
    frames::send(target, &[frame, datagram(target, target.denied).fragment(8, false)])
}
