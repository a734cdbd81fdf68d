//! Many sandboxes, one after the other and beside each other: each has its own policy and nobody else's, and nothing is left of them.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `MANY_CYCLES` | sandboxes that come and go | 100 |
//! | `MANY_NAMESPACES` | namespaces with one sandbox each | 20 |
#![forbid(unsafe_code)]

mod cycles;
mod namespaces;
mod probe;
mod times;

use anyhow::{Context, Result, ensure};
use std::env;
use std::path::Path;
use std::time::Duration;
use test_faults::leaks::{KernelMemory, Scope, Snapshot, open_files, resident};
use test_scenarios::Daemon;
use test_world::poll;

/// How long something that must happen may take.
const SOON: Duration = Duration::from_secs(20);

/// The number in an environment variable.
fn number(name: &str, default: u32) -> Result<u32> {
    match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(default),
    }
}

/// What a daemon without sandboxes has, and the machine with it.
struct Idle {
    scope: Scope,
    snapshot: Snapshot,
    files: usize,
    memory: u64,
    kernel: KernelMemory,
}

impl Idle {
    fn of(daemon: &Daemon, scope: Scope) -> Result<Idle> {
        let pid = daemon.pid().context("it runs")?;
        let scope = scope.directory(daemon.pin_dir()).directory(daemon.state_dir());
        let (snapshot, kernel) = (Snapshot::take(&scope)?, KernelMemory::read()?);
        Ok(Idle { scope, snapshot, files: open_files(pid)?, memory: resident(pid)?, kernel })
    }

    /// Nothing has come since but a little memory: `grown` KiB of the daemon's.
    fn is_again(&self, daemon: &Daemon, grown: u64) -> Result<()> {
        let pid = daemon.pid().context("it runs")?;
        self.snapshot.comes_back(&self.scope)?;
        let files = || open_files(pid).is_ok_and(|files| files <= self.files).then_some(());
        poll(SOON, files)
            .with_context(|| format!("{} files open, {} before", open_files(pid).unwrap_or(0), self.files))?;
        let memory = resident(pid)?;
        let kernel = KernelMemory::read()?;
        println!("files of the daemon: {}; its memory: {} KiB, then {memory} KiB", self.files, self.memory);
        println!("memory of the kernel: {} KiB, then {} KiB", self.kernel.total(), kernel.total());
        ensure!(memory <= self.memory + grown, "the daemon has grown by {} KiB", memory - self.memory);
        Ok(())
    }
}

/// Names of the namespaces that something is pinned for.
fn pinned_namespaces(pin_dir: &Path) -> Result<usize> {
    let directory = pin_dir.join(format!("abi-{}/netns", filter_core::abi::VERSION));
    Ok(std::fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?.count())
}
