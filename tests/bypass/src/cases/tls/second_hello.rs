//! A denied hello, and another behind it as if nothing had been.

use crate::attack::converse;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("second-hello", "a denied hello, and another behind it as if nothing had been", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let first = ClientHello::named("another.test").wire();
    let second = ClientHello::named(target.denied_name()).wire();
    converse(target.allowed(443), &[&first, &second])
}
