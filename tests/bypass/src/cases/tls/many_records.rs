//! The hello in records of one byte.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use test_world::{ClientHello, records};

pub(super) const CASE: Case =
    Case::new("many-records", "the hello in records of one byte", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let message = ClientHello::named(target.denied_name()).message();
    // The witness looks for the name in one piece.
    let mark = [&[23, 3, 3, 0, target.canary.len() as u8], target.canary.as_bytes()].concat();
    say(target.allowed(443), [records(&message, 1), mark].concat()).map(drop)
}
