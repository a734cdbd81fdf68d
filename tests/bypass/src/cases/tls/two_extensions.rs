//! A hello with two lists of names, the last of them allowed.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("two-extensions", "a hello with two lists of names, the last of them allowed", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let hello = ClientHello::named(ALLOWED_NAME).names(&[target.denied_name().as_bytes()]);
    say(target.allowed(443), hello.wire()).map(drop)
}
