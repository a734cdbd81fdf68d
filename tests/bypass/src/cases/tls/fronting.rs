//! Another name inside a connection with the allowed one.

use crate::attack::{connect, listen};
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;
use std::io::Write;
use test_world::ClientHello;

pub(super) const CASE: Case = Case::new("fronting", "another name inside a connection with the allowed one", attempt)
    .against(Policy::Names)
    .out_of_reach("fronting");

fn attempt(target: &Target) -> Result<()> {
    let mut stream = connect(target.allowed(443))?;
    stream.write_all(&ClientHello::named(ALLOWED_NAME).wire())?;
    listen(&mut stream);
    let hidden = target.denied_name();
    stream.write_all(&[&[23, 3, 3, 0, hidden.len() as u8], hidden.as_bytes()].concat())?;
    listen(&mut stream);
    Ok(())
}
