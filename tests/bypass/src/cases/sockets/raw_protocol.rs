//! A raw socket of a protocol of its own.

use crate::attack::socket;
use crate::case::Case;
use crate::target::Target;
use anyhow::Result;
use socket2::{Protocol, Type};

pub(super) const CASE: Case = Case::new("raw-protocol", "a raw socket of a protocol of its own", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    let socket = socket(target.denied(0), Type::RAW, Some(Protocol::from(253)))?;
    socket.send_to(target.canary.as_bytes(), &target.denied(0).into())?;
    Ok(())
}
