//! A hello with an address as its name.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("address-as-name", "a hello with an address as its name", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let hello = ClientHello::named(target.denied.to_string()).extension(0xfeed, target.canary.clone().into_bytes());
    say(target.allowed(443), hello.wire()).map(drop)
}
