//! The namespace of a sandbox as others see it: its name, its nameservers, the processes in it.

use crate::Error;
use filter_dataplane::Namespace;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{FsType, statfs};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Where `ip netns` looks for namespaces.
const NAMES: &str = "/run/netns";
/// Where `ip netns exec` looks for files that a namespace has of its own.
const FILES: &str = "/etc/netns";
/// How long processes may take to end after they were killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// `NSFS_MAGIC` of `linux/magic.h`.
const NSFS: FsType = FsType(0x6e73_6673);

/// The file that holds a sandbox's namespace.
pub(super) fn path(id: &str) -> PathBuf {
    Path::new(NAMES).join(name(id))
}

/// What `ip netns` calls it.
pub(super) fn name(id: &str) -> String {
    format!("sandbox-{id}")
}

/// Gives a namespace its name. The name must not be taken.
pub(super) fn give_name(id: &str, namespace: &Namespace) -> Result<(), Error> {
    prepare().map_err(Error::file("prepare", NAMES))?;
    let path = path(id);
    match OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Error::Exists { id: id.to_owned(), what: path.display().to_string() });
        }
        other => other.map(drop).map_err(Error::file("create", &path))?,
    }
    let from = format!("/proc/self/fd/{}", namespace.file().as_raw_fd());
    let bound = mount(Some(from.as_str()), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    bound.map_err(|errno| {
        fs::remove_file(&path).ok();
        Error::file("mount a namespace at", path)(errno.into())
    })
}

/// Makes the directory of names as `ip netns add` does: shared, so that names also go away for those who have their own view of mounts.
fn prepare() -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(NAMES)?;
    let share = || mount(None::<&str>, NAMES, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    if share() == Err(nix::Error::EINVAL) {
        mount(Some(NAMES), NAMES, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
        share()?;
    }
    Ok(())
}

/// Takes the name away; the namespace ends when nothing else holds it. One that is not there is fine.
pub(super) fn take_name(id: &str) -> Result<(), Error> {
    let path = path(id);
    match umount2(&path, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
        Err(errno) => return Err(Error::file("unmount", path)(errno.into())),
    }
    unless_missing(fs::remove_file(&path)).map_err(Error::file("remove", path))
}

/// Writes what programs in the namespace read as `/etc/resolv.conf`.
pub(super) fn write_nameservers(id: &str, nameservers: &[IpAddr]) -> Result<(), Error> {
    let dir = Path::new(FILES).join(name(id));
    DirBuilder::new().recursive(true).create(&dir).map_err(Error::file("create", &dir))?;
    let path = dir.join("resolv.conf");
    let text: String = nameservers.iter().map(|address| format!("nameserver {address}\n")).collect();
    fs::write(&path, text).map_err(Error::file("write", &path))?;
    // The daemon's umask may hide them from the sandbox's users.
    for (path, mode) in [(Path::new(FILES), 0o755), (&dir, 0o755), (&path, 0o644)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Error::file("open to everybody", path))?;
    }
    Ok(())
}

/// Whether they are there.
pub(super) fn has_nameservers(id: &str) -> bool {
    Path::new(FILES).join(name(id)).join("resolv.conf").exists()
}

/// Removes them.
pub(super) fn remove_nameservers(id: &str) -> Result<(), Error> {
    let dir = Path::new(FILES).join(name(id));
    unless_missing(fs::remove_dir_all(&dir)).map_err(Error::file("remove", dir))
}

/// Kills all processes in a sandbox's namespace and waits until they are gone.
pub(super) fn kill_processes(id: &str, host: &Namespace) -> Result<(), Error> {
    let path = path(id);
    let is_namespace = statfs(&path).is_ok_and(|found| found.filesystem_type() == NSFS);
    let Some(inode) = fs::metadata(&path).ok().map(|found| found.ino()).filter(|_| is_namespace) else { return Ok(()) };
    if inode == host.inode() || inode == Namespace::own()?.inode() {
        return Err(Error::Exists {
            id: id.to_owned(),
            what: format!("{}, which is the host's namespace,", path.display()),
        });
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = members(inode).filter(|pid| kill_if_member(*pid, inode)).count();
        if left == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::Processes { id: id.to_owned(), left });
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn members(inode: u64) -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(move |pid| is_member(*pid, inode))
}

/// Ended processes that nobody has waited for are in no namespace.
fn is_member(pid: i32, inode: u64) -> bool {
    fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|found| found.ino() == inode)
}

/// Looks again once the process is held, for its number may be another's meanwhile. Tells whether it was there.
fn kill_if_member(pid: i32, inode: u64) -> bool {
    let Some(held) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return false };
    is_member(pid, inode) && pidfd_send_signal(&held, Signal::KILL).is_ok()
}

fn unless_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
