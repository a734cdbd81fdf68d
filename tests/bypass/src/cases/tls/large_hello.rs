//! A hello of more bytes than a segment and a record hold.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("large-hello", "a hello of more bytes than a segment and a record hold", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let hello = ClientHello::named(target.denied_name()).padded_to(40_000);
    say(target.allowed(443), hello.wire()).map(drop)
}
