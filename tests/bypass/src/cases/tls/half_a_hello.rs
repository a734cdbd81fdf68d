//! Half of a hello, and the end of what the client says.

use crate::attack::{connect, listen};
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use std::io::Write;
use test_world::ClientHello;

pub(super) const CASE: Case =
    Case::new("half-a-hello", "half of a hello, and the end of what the client says", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let mut stream = connect(target.allowed(443))?;
    let wire = ClientHello::named(target.denied_name()).padded_to(900).wire();
    stream.write_all(&wire[..wire.len() - 20])?;
    stream.shutdown(std::net::Shutdown::Write)?;
    listen(&mut stream);
    Ok(())
}
