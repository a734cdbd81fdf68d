//! A connection to the allowed address that is dissolved, and the same socket connected to the denied one.

use crate::attack::socket;
use crate::case::Case;
use crate::target::Target;
use anyhow::Result;
use socket2::{Socket, Type};
use std::io::Write;
use std::os::fd::AsRawFd;

pub(super) const CASE: Case = Case::new(
    "tcp-reconnect",
    "a connection to the allowed address that is dissolved, and the same socket connected to the denied one",
    attempt,
);

fn attempt(target: &Target) -> Result<()> {
    let socket = socket(target.denied(80), Type::STREAM, None)?;
    // It may be refused, or get through: what counts is the next.
    drop(socket.connect_timeout(&target.allowed(8080).into(), std::time::Duration::from_secs(1)));
    dissolve(&socket)?;
    socket.set_nonblocking(false)?;
    socket.connect_timeout(&target.denied(8080).into(), std::time::Duration::from_secs(1))?;
    (&socket).write_all(target.canary.as_bytes())?;
    Ok(())
}

/// Connects to nobody (`AF_UNSPEC`).
fn dissolve(socket: &Socket) -> Result<()> {
    // SAFETY: zeros are an address of no family.
    let nobody: libc::sockaddr = unsafe { std::mem::zeroed() };
    let length = libc::socklen_t::try_from(size_of_val(&nobody))?;
    // SAFETY: the address lives until the call returns, and its length is given.
    let done = unsafe { libc::connect(socket.as_raw_fd(), &raw const nobody, length) };
    anyhow::ensure!(done == 0, "{}", std::io::Error::last_os_error());
    Ok(())
}
