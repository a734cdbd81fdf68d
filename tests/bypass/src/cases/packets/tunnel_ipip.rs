//! IP in IP: the denied address behind the allowed one.

use crate::case::Case;
use crate::frames;
use crate::frames::{datagram, inner, packet};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("tunnel-ipip", "IP in IP: the denied address behind the allowed one", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let inside = inner(&datagram(target, target.denied));
    let protocol = if target.is_v4() { 4 } else { 41 };
    frames::send(target, &[packet(target, target.allowed, protocol, &inside)])
}
