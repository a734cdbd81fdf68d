//! A view of the machine that is this process's own, so that nothing outlives it, however it ends.

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

/// Where BPF objects are pinned: a BPF filesystem that goes with the process.
pub(crate) const BPFFS: &str = "/sys/fs/bpf";

/// Makes mounts private and puts an empty BPF filesystem over the machine's. Call it before there are threads: each has its own view.
pub(crate) fn enter() -> Result<()> {
    ensure!(geteuid().is_root(), "network namespaces and BPF need root: run this as root or through sudo");
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none).context("cannot make mounts private")?;
    mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), none)
        .with_context(|| format!("cannot mount a BPF filesystem at {BPFFS}: has this kernel BPF?"))
}
