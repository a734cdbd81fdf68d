//! TLS with the allowed name on port 80.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("tls-on-port-80", "TLS with the allowed name on port 80", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let hello = ClientHello::named(ALLOWED_NAME).extension(0xfeed, target.canary.clone().into_bytes());
    say(target.allowed(80), hello.wire()).map(drop)
}
