//! Whatever is attached at its own end of the device deleted first.

use crate::attack::{run, send};
use crate::case::Case;
use crate::target::{PORT, Target};
use anyhow::Result;

pub(super) const CASE: Case =
    Case::new("deleted-qdisc", "whatever is attached at its own end of the device deleted first", attempt).root();

fn attempt(target: &Target) -> Result<()> {
    for line in ["tc qdisc del dev eth0 clsact", "tc qdisc del dev eth0 root", "tc qdisc add dev eth0 clsact"] {
        // There may be nothing to delete.
        drop(run(line));
    }
    drop(run("tc qdisc del dev eth0 clsact"));
    send(target.denied(PORT), &target.canary)
}
