//! A socket that another thread has made, connected and handed over.

use crate::attack::udp;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

pub(super) const CASE: Case =
    Case::new("passed-socket", "a socket that another thread has made, connected and handed over", attempt);

fn attempt(target: &Target) -> Result<()> {
    let (here, there) = UnixDatagram::pair()?;
    let to = target.denied(PORT);
    std::thread::scope(|scope| -> Result<()> {
        scope.spawn(move || -> Result<()> {
            let socket = udp(to.ip())?;
            socket.connect(to)?;
            let fds = [socket.as_raw_fd()];
            sendmsg::<()>(
                there.as_raw_fd(),
                &[IoSlice::new(b"x")],
                &[ControlMessage::ScmRights(&fds)],
                MsgFlags::empty(),
                None,
            )?;
            Ok(())
        });
        here.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
        let mut byte = [0; 1];
        let mut bytes = [IoSliceMut::new(&mut byte)];
        let mut space = nix::cmsg_space!(i32);
        let got = recvmsg::<()>(here.as_raw_fd(), &mut bytes, Some(&mut space), MsgFlags::empty())?;
        for message in got.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = message {
                for fd in fds {
                    nix::sys::socket::send(fd, target.canary.as_bytes(), MsgFlags::empty())?;
                }
            }
        }
        Ok(())
    })
}
