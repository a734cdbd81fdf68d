//! Goes into the sandbox and becomes the command: a process of its own, which has nothing open but what the command is to have.

use super::confine;
use super::keeper::Ready;
use super::place::Place;
use crate::cli::output::{self, Output};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Where to go, and with what.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    place: Place,
    daemon: u32,
    nameservers: Vec<IpAddr>,
    keeps_capabilities: bool,
}

impl Entry {
    pub(super) fn new(place: &Place, ready: &Ready, keeps_capabilities: bool) -> Entry {
        let Ready { daemon, nameservers, .. } = ready;
        Entry { place: place.clone(), daemon: *daemon, nameservers: nameservers.clone(), keeps_capabilities }
    }

    /// As an argument.
    pub(super) fn text(&self) -> io::Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}

/// Becomes the command. Returns only when it cannot: 127 when there is none, 126 when it cannot be run, as shells have it; 125 when the
/// sandbox cannot be entered.
pub(in crate::cli) fn run(entry: &str, command: &[OsString], output: &mut Output) -> ExitCode {
    let told = |message: String, output: &mut Output| output.aside(&output::error(&message));
    let entered = serde_json::from_str::<Entry>(entry).map_err(io::Error::from).and_then(|entry| enter(&entry));
    if let Err(error) = entered {
        told(format!("cannot enter the sandbox: {error}"), output);
        return ExitCode::from(125);
    }
    let Some((program, arguments)) = command.split_first() else { return ExitCode::from(127) };
    let error = Command::new(program).args(arguments).exec();
    told(format!("{}: {error}", program.display()), output);
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

fn enter(entry: &Entry) -> io::Result<()> {
    match &entry.place {
        Place::Cgroup { path, .. } => {
            // Opened while it may be written, used when nothing is left that the daemon would warn of.
            let members = path.join("cgroup.procs");
            let mut members = File::options().write(true).open(&members).map_err(|error| told(&members, &error))?;
            own_mounts()?;
            // Who may write there could leave.
            for place in cgroup_mounts()? {
                mount_again(&place, MsFlags::MS_RDONLY)?;
            }
            name_resolvers(entry)?;
            if !entry.keeps_capabilities {
                confine::to_cgroup()?;
            }
            members.write_all(b"0").map_err(|error| told(path, &error))
        }
        Place::Netns { id } => {
            // What the daemon has mounted may not be seen from here.
            let path = PathBuf::from(format!("/proc/{}/root/run/netns/sandbox-{id}", entry.daemon));
            let namespace = File::open(&path).map_err(|error| told(&path, &error))?;
            setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| told(&path, &errno.into()))?;
            own_mounts()?;
            name_resolvers(entry)?;
            if entry.keeps_capabilities { Ok(()) } else { confine::to_namespace() }
        }
    }
}

/// What is mounted from now on is seen here alone; what the host mounts is still seen.
fn own_mounts() -> io::Result<()> {
    let root = Path::new("/");
    let failed = |errno: Errno| told(root, &errno.into());
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed)?;
    mount(None::<&str>, root, None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>).map_err(failed)
}

fn cgroup_mounts() -> io::Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let place = |line: &str| {
        let (of_mount, of_kind) = line.split_once(" - ")?;
        of_kind.starts_with("cgroup").then(|| of_mount.split(' ').nth(4).map(PathBuf::from))?
    };
    Ok(mounts.lines().filter_map(place).collect())
}

fn mount_again(place: &Path, flags: MsFlags) -> io::Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
    mount(None::<&str>, place, None::<&str>, flags, None::<&str>).map_err(|errno| told(place, &errno.into()))
}

/// Has the C library ask whom the policy lets it ask.
fn name_resolvers(entry: &Entry) -> io::Result<()> {
    const FILE: &str = "/etc/resolv.conf";
    let target = match fs::canonicalize(FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let text: String = entry.nameservers.iter().map(|server| format!("nameserver {server}\n")).collect();
    // A file system of its own, mounted where only this process sees it and for as long as it takes: nothing of it stays.
    let own = Path::new("/tmp");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let failed = |path: &Path, errno: Errno| told(path, &errno.into());
    mount(Some("tmpfs"), own, Some("tmpfs"), flags, Some("size=64k,mode=0755")).map_err(|errno| failed(own, errno))?;
    let file = own.join("resolv.conf");
    fs::write(&file, text)?;
    mount(Some(&file), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|errno| failed(&target, errno))?;
    umount2(own, MntFlags::MNT_DETACH).map_err(|errno| failed(own, errno))
}

fn told(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
