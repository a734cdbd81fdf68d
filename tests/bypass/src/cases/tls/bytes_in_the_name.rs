//! A hello with the allowed name and more behind a NUL, a line end, a space.

use crate::attack::say;
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("bytes-in-the-name", "a hello with the allowed name and more behind a NUL, a line end, a space", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    for between in ["\0", "\r\n", " ", "\u{fc}", "/", "#", "%00."] {
        let hello = ClientHello::named(format!("{ALLOWED_NAME}{between}{}", target.denied_name()));
        say(target.allowed(443), hello.wire())?;
    }
    Ok(())
}
