//! The hello in segments of one byte.

use crate::attack::say_slowly;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("byte-by-byte", "the hello in segments of one byte", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    say_slowly(target.allowed(443), ClientHello::named(target.denied_name()).wire()).map(drop)
}
