//! TLS with the allowed name on a port that is none of names.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("tls-on-another-port", "TLS with the allowed name on a port that is none of names", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let hello = ClientHello::named(ALLOWED_NAME).extension(0xfeed, target.canary.clone().into_bytes());
    say(target.allowed(8443), hello.wire()).map(drop)
}
