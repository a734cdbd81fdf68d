//! A client that waits for the server before it says anything.

use crate::attack::{connect, listen};
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use std::io::Write;

pub(super) const CASE: Case =
    Case::new("silence-first", "a client that waits for the server before it says anything", attempt)
        .against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let mut stream = connect(target.allowed(443))?;
    listen(&mut stream);
    stream.write_all(target.canary.as_bytes())?;
    listen(&mut stream);
    Ok(())
}
