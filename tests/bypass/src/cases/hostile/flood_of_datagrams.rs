//! Thousands of datagrams to the allowed address from many ports, then one to the denied.

use crate::attack::{send, udp};
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case = Case::new(
    "flood-of-datagrams",
    "thousands of datagrams to the allowed address from many ports, then one to the denied",
    attempt,
);

fn attempt(target: &Target) -> Result<()> {
    for _ in 0..5 {
        let socket = udp(target.allowed)?;
        for port in 1..500 {
            // Its own buffers may be full.
            drop(socket.send_to(b"flood", target.allowed(port)));
        }
    }
    send(target.denied(PORT), &target.canary)
}
