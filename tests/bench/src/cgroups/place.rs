//! Cgroups that the benchmark's own process has sockets in: a socket belongs to the cgroup that its maker was in when it was made.

use anyhow::{Context, Result};
use filter_dataplane::own_cgroup;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A cgroup, which goes with this.
pub(super) struct Cgroup {
    cgroup: test_world::Cgroup,
    home: PathBuf,
}

impl Cgroup {
    /// One beside the root's others.
    pub(super) fn make() -> Result<Cgroup> {
        Ok(Cgroup { home: own_cgroup()?, cgroup: test_world::Cgroup::make()? })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.cgroup.path()
    }

    /// Does something as a member.
    pub(super) fn inside<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        enter(self.path())?;
        let done = work();
        enter(&self.home)?;
        done
    }

    /// The directory, open.
    pub(super) fn open(&self) -> Result<File> {
        File::open(self.path()).with_context(|| self.path().display().to_string())
    }
}

fn enter(cgroup: &Path) -> Result<()> {
    let members = cgroup.join("cgroup.procs");
    fs::write(&members, "0").with_context(|| format!("cannot enter {}", cgroup.display()))
}
