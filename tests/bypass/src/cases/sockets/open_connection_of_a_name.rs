//! A connection to port 80 from before the policy was tightened.

use crate::attack::{connect, listen};
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use std::io::Write;

pub(super) const CASE: Case =
    Case::new("open-connection-of-a-name", "a connection to port 80 from before the policy was tightened", attempt)
        .against(Policy::Tightened);

fn attempt(target: &Target) -> Result<()> {
    let mut stream = connect(target.denied(80))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: any.test\r\n\r\n")?;
    listen(&mut stream);
    target.wait()?;
    stream.write_all(format!("GET /{} HTTP/1.1\r\nHost: any.test\r\n\r\n", target.canary).as_bytes())?;
    listen(&mut stream);
    Ok(())
}
