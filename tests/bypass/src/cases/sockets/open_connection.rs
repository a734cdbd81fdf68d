//! A connection from before the policy was tightened.

use crate::attack::connect;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use std::io::Write;

pub(super) const CASE: Case =
    Case::new("open-connection", "a connection from before the policy was tightened", attempt)
        .against(Policy::Tightened);

fn attempt(target: &Target) -> Result<()> {
    let mut stream = connect(target.denied(8080))?;
    target.wait()?;
    stream.write_all(target.canary.as_bytes())?;
    Ok(())
}
