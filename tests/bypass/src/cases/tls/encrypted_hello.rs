//! An encrypted hello (ECH) inside one with the allowed name.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("encrypted-hello", "an encrypted hello (ECH) inside one with the allowed name", attempt)
        .against(Policy::Names)
        .out_of_reach("encrypted hellos (ECH)");

fn attempt(target: &Target) -> Result<()> {
    // RFC 9849, section 5: an outer hello, suites, a configuration, a key, and what is hidden.
    let hidden = target.canary.as_bytes();
    let content = [&[0, 0, 1, 0, 1, 7, 0, 32][..], &[7; 32], &[0, hidden.len() as u8], hidden].concat();
    say(target.allowed(443), ClientHello::named(ALLOWED_NAME).extension(0xfe0d, content).wire()).map(drop)
}
