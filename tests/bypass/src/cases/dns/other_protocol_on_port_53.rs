//! Data that is no DNS, to port 53 of the denied address.

use crate::attack::{say, send};
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("other-protocol-on-port-53", "data that is no DNS, to port 53 of the denied address", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    send(target.denied(53), &target.canary)?;
    say(target.denied(53), &target.canary).map(drop)
}
