//! A hello with a name that no entry covers.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("denied-name", "a hello with a name that no entry covers", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let hello = ClientHello::named(target.denied_name());
    say(target.allowed(443), hello.wire()).map(drop)
}
