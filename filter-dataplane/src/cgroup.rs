//! A cgroup of the daemon's own (cgroup v2), which the processes that it starts begin in. It and they end together: what is to
//! go on without the daemon, or to dial what it may not, is moved to where the daemon was before ([`here`]).

use crate::Error;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The processes of a cgroup, one a line.
const MEMBERS: &str = "cgroup.procs";
/// How long the end of a process may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The cgroup.
pub(crate) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// The cgroup with this name below the one that the daemon is in; what an earlier daemon has left in it is ended.
    pub(crate) fn make(name: &str) -> Result<Cgroup, Error> {
        let here = here()?;
        // The daemon may have been started from within.
        let parent = if here.ends_with(name) { here.parent().unwrap_or(&here) } else { &here };
        let path = parent.join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::file("create", &path)(error));
            }
            _ => {}
        }
        let cgroup = Cgroup { path };
        cgroup.end_members()?;
        Ok(cgroup)
    }

    /// The directory, for programs to be attached to.
    pub(crate) fn open(&self) -> Result<File, Error> {
        File::open(&self.path).map_err(Error::file("open", &self.path))
    }

    /// Moves this process into it.
    pub(crate) fn enter(&self) -> Result<(), Error> {
        join(&self.path)
    }

    /// Ends who is in it but this process, which goes back to where it was. The cgroup is no more then.
    pub(crate) fn leave(&self) -> Result<(), Error> {
        self.end_members()?;
        if let Some(parent) = self.path.parent() {
            join(parent)?;
        }
        fs::remove_dir(&self.path).map_err(Error::file("remove", &self.path))
    }

    fn end_members(&self) -> Result<(), Error> {
        let members = self.path.join(MEMBERS);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(&members).map_err(Error::file("read", &members))?;
            let own = process::id().to_string();
            let others: Vec<i32> =
                text.lines().filter(|line| *line != own).filter_map(|line| line.parse().ok()).collect();
            if others.is_empty() {
                return Ok(());
            }
            for pid in others {
                match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(Error::file("empty", &self.path)(errno.into())),
                }
            }
            if Instant::now() > deadline {
                return Err(Error::file("empty", &self.path)(Errno::ETIMEDOUT.into()));
            }
            sleep(Duration::from_millis(5));
        }
    }
}

/// Where the cgroup of this process is.
///
/// # Errors
/// When no cgroup2 file system shows it.
pub fn here() -> Result<PathBuf, Error> {
    let read = |path: &str| fs::read_to_string(path).map_err(Error::file("read", path));
    let (mounts, cgroups) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
    find(&mounts, &cgroups).ok_or_else(|| Error::Unsupported {
        missing: "names need a cgroup2 file system that shows the daemon's own cgroup".to_owned(),
        hint: "mount one: mount -t cgroup2 none /sys/fs/cgroup/unified".to_owned(),
    })
}

/// Columns of mounts: number, parent, device, root, place, …, `-`, kind; a line of cgroups is `0::PATH` in the second version.
fn find(mounts: &str, cgroups: &str) -> Option<PathBuf> {
    let own = Path::new(cgroups.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (columns, kind) = line.split_once(" - ")?;
        let mut columns = columns.split(' ').skip(3);
        let (root, place) = (columns.next()?, columns.next()?);
        kind.starts_with("cgroup2 ").then_some(())?;
        Some(Path::new(place).join(own.strip_prefix(root).ok()?))
    })
}

fn join(cgroup: &Path) -> Result<(), Error> {
    let members = cgroup.join(MEMBERS);
    fs::write(&members, process::id().to_string()).map_err(Error::file("write", members))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_where_it_is_mounted() {
        let v1 = "31 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        let v2 = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 none rw\n";
        let both = format!("{v1}{v2}");
        let unified = Path::new("/sys/fs/cgroup/unified");
        assert_eq!(find(&both, "1:cpu:/x\n0::/\n").as_deref(), Some(unified));
        let service = find(&both, "0::/system.slice/a.service\n");
        assert_eq!(service, Some(unified.join("system.slice/a.service")));
        assert_eq!(find(v1, "0::/\n"), None);
        let part = "41 31 0:38 /box /sys/fs/cgroup rw - cgroup2 none rw\n";
        assert_eq!(find(part, "0::/box/a\n").as_deref(), Some(Path::new("/sys/fs/cgroup/a")));
        assert_eq!(find(part, "0::/other\n"), None);
    }
}
