//! A hello of SSL 2, which some servers take (CVE-2020-8660).

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("old-hello", "a hello of SSL 2, which some servers take (CVE-2020-8660)", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let body = [&[1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 5], [7; 16].as_slice(), target.canary.as_bytes()].concat();
    say(target.allowed(443), [&[0x80, body.len() as u8], body.as_slice()].concat()).map(drop)
}
