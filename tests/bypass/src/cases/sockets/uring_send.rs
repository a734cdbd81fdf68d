//! A datagram sent by a ring (io_uring).

use crate::attack::udp;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::{Context, Result};
use io_uring::{IoUring, opcode, types::Fd};
use socket2::SockAddr;
use std::io::IoSlice;
use std::os::fd::AsRawFd;

pub(super) const CASE: Case = Case::new("uring-send", "a datagram sent by a ring (io_uring)", attempt);

fn attempt(target: &Target) -> Result<()> {
    let socket = udp(target.denied)?;
    let to = SockAddr::from(target.denied(PORT));
    let bytes = [IoSlice::new(target.canary.as_bytes())];
    // SAFETY: zeros are a message without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = to.as_ptr().cast_mut().cast();
    message.msg_namelen = to.len();
    message.msg_iov = bytes.as_ptr().cast_mut().cast();
    message.msg_iovlen = 1;
    let mut ring = IoUring::new(2)?;
    let send = opcode::SendMsg::new(Fd(socket.as_raw_fd()), &raw const message).build();
    // SAFETY: what the entry points to lives until it has completed.
    unsafe { ring.submission().push(&send) }.context("the ring is full")?;
    ring.submit_and_wait(1)?;
    Ok(())
}
