//! Multipath TCP.

use crate::attack::socket;
use crate::case::Case;
use crate::target::Target;
use anyhow::Result;
use socket2::{Protocol, Type};
use std::io::Write;

pub(super) const CASE: Case = Case::new("multipath", "multipath TCP", attempt);

fn attempt(target: &Target) -> Result<()> {
    let socket = socket(target.denied(8080), Type::STREAM, Some(Protocol::MPTCP))?;
    socket.connect_timeout(&target.denied(8080).into(), std::time::Duration::from_secs(1))?;
    (&socket).write_all(target.canary.as_bytes())?;
    Ok(())
}
