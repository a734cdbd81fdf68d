//! Heads that never end, then a request for another name.

use crate::attack::connect;
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use std::io::Write;

pub(super) const CASE: Case =
    Case::new("slow-heads", "heads that never end, then a request for another name", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    let mut held = Vec::new();
    for _ in 0..50 {
        let mut stream = connect(target.allowed(80))?;
        stream.write_all(b"GET / HTTP/1.1\r\nX: ")?;
        held.push(stream);
    }
    for mut stream in held {
        stream.write_all(format!("y\r\nHost: {}\r\n\r\n", target.denied_name()).as_bytes())?;
    }
    Ok(())
}
