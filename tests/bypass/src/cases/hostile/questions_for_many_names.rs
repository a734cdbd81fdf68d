//! Requests for many names that nobody has, then one for another name.

use crate::attack::{connect, say};
use crate::case::{Case, Policy};
use crate::target::Target;
use anyhow::Result;
use std::io::Write;

pub(super) const CASE: Case = Case::new(
    "questions-for-many-names",
    "requests for many names that nobody has, then one for another name",
    attempt,
)
.against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    for number in 0..60 {
        let mut stream = connect(target.allowed(80))?;
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: n{number}.many.test\r\n\r\n").as_bytes())?;
    }
    say(target.allowed(80), format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", target.denied_name())).map(drop)
}
