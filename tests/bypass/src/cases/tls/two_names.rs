//! A hello with two names, the first of them allowed.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("two-names", "a hello with two names, the first of them allowed", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let hello = ClientHello::unnamed().names(&[ALLOWED_NAME.as_bytes(), target.denied_name().as_bytes()]);
    say(target.allowed(443), hello.wire()).map(drop)
}
