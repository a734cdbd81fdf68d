//! Cgroups (version 2) of a test's own.

use crate::wait_until;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long the processes of one may take to end.
const GONE: Duration = Duration::from_secs(10);

/// A cgroup, which is gone with this, and who is in it.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// One below the root of all others.
    ///
    /// # Errors
    /// When no file system of cgroups is mounted, or without root.
    pub fn make() -> Result<Cgroup> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
        let mount = Path::new(mount.context("there is no cgroup file system of version 2")?);
        Cgroup::at(mount.join(format!("sf-test-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))))
    }

    /// One at a path.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub fn at(path: PathBuf) -> Result<Cgroup> {
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Cgroup(path))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A command of the shell that is run in it.
    pub fn entered(&self, command: &str) -> String {
        format!("echo $$ > {}/cgroup.procs && exec {command}", self.0.display())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What is below it is its maker's. One that stays is left for people to see.
        drop(fs::write(self.0.join("cgroup.kill"), "1"));
        wait_until(GONE, || fs::remove_dir(&self.0).is_ok() || !self.0.exists());
    }
}
