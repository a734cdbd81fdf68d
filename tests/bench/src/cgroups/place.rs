//! Cgroups of the benchmark's own. A socket belongs to the cgroup that its maker was in when it was made, so one process has sockets in all of them.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::id;

/// A cgroup, which goes with this.
pub(super) struct Cgroup {
    pub(super) path: PathBuf,
    home: PathBuf,
}

impl Cgroup {
    /// One beside the root's others.
    pub(super) fn make(name: &str) -> Result<Cgroup> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
        let mount = Path::new(mount.context("there is no cgroup file system of version 2")?).to_owned();
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).context("no cgroup of version 2")?;
        let path = mount.join(format!("sandbox-filter-bench-{}-{name}", id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Cgroup { path, home: mount.join(own) })
    }

    /// Does something as a member.
    pub(super) fn inside<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        enter(&self.path)?;
        let done = work();
        enter(&self.home)?;
        done
    }

    /// The directory, open.
    pub(super) fn open(&self) -> Result<File> {
        File::open(&self.path).with_context(|| self.path.display().to_string())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // One that cannot be removed is left for people to see.
        fs::remove_dir(&self.path).ok();
    }
}

fn enter(cgroup: &Path) -> Result<()> {
    let members = cgroup.join("cgroup.procs");
    fs::write(&members, "0").with_context(|| format!("cannot enter {}", cgroup.display()))
}
