//! The allowed name, to the address of somebody else.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("allowed-name-elsewhere", "the allowed name, to the address of somebody else", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    say(target.denied(443), ClientHello::named(ALLOWED_NAME).wire()).map(drop)
}
