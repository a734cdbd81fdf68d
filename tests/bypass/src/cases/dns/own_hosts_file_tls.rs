//! A hello with the allowed name, to where the sandbox believes that it is.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("own-hosts-file-tls", "a hello with the allowed name, to where the sandbox believes that it is", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    say(target.denied(443), ClientHello::named(ALLOWED_NAME).wire()).map(drop)
}
