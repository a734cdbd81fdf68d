//! Data in the first segment of a connection (MSG_FASTOPEN).

use crate::attack::socket;
use crate::case::Case;
use crate::target::Target;
use anyhow::Result;
use socket2::Type;

pub(super) const CASE: Case =
    Case::new("fast-open", "data in the first segment of a connection (MSG_FASTOPEN)", attempt);

fn attempt(target: &Target) -> Result<()> {
    let socket = socket(target.denied(8080), Type::STREAM, None)?;
    socket.send_to_with_flags(target.canary.as_bytes(), &target.denied(8080).into(), libc::MSG_FASTOPEN)?;
    Ok(())
}
