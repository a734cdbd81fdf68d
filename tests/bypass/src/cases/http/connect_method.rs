//! CONNECT, to a name and to an address.

use crate::attack::{host, say};
use crate::case::{Case, Policy};
use crate::target::{ALLOWED_NAME, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("connect-method", "CONNECT, to a name and to an address", attempt).against(Policy::Names);

fn attempt(target: &Target) -> Result<()> {
    for to in [format!("{}:443", target.denied_name()), format!("{}:443", host(target.denied))] {
        let words = format!("CONNECT {to} HTTP/1.1\r\nHost: {ALLOWED_NAME}\r\n\r\n{}", target.canary);
        say(target.allowed(80), words)?;
    }
    Ok(())
}
