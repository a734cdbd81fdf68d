//! Datagrams of one call, the first of them allowed.

use crate::attack::udp;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use std::io::IoSlice;
use std::os::fd::AsRawFd;

pub(super) const CASE: Case =
    Case::new("many-datagrams-in-a-call", "datagrams of one call, the first of them allowed", attempt);

fn attempt(target: &Target) -> Result<()> {
    let socket = udp(target.denied)?;
    let to = [target.allowed(PORT), target.denied(PORT)].map(SockaddrStorage::from);
    let bytes = [IoSlice::new(target.canary.as_bytes())];
    let first = [IoSlice::new(b"first")];
    let mut headers = MultiHeaders::preallocate(2, None);
    sendmmsg(socket.as_raw_fd(), &mut headers, [&first, &bytes], to.map(Some), [], MsgFlags::empty())?;
    Ok(())
}
