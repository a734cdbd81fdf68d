//! Lengths in the headers of UDP and IP that do not agree.

use crate::case::Case;
use crate::frames;
use crate::frames::{UDP, packet, udp_of};
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("wrong-lengths", "lengths in the headers of UDP and IP that do not agree", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let mut lying = udp_of(40_000, PORT, target.canary.as_bytes());
    lying[4..6].copy_from_slice(&[0xff, 0xff]);
    let mut short = lying.clone();
    short[4..6].copy_from_slice(&[0, 0]);
    frames::send(target, &[packet(target, target.denied, UDP, &lying), packet(target, target.denied, UDP, &short)])
}
