//! Goes into the sandbox and becomes the command: a process of its own, which has nothing open but what the command is to have.

use super::keeper::Ready;
use super::place::Place;
use crate::cli::output::{self, Output};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::thread::{
    CapabilitySet, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What leads out of a namespace: other namespaces, other processes, the kernel itself.
const OUT_OF_A_NAMESPACE: [CapabilitySet; 5] = [
    CapabilitySet::SYS_ADMIN,
    CapabilitySet::SYS_PTRACE,
    CapabilitySet::SYS_MODULE,
    CapabilitySet::BPF,
    CapabilitySet::PERFMON,
];
/// What leads around the hooks of a cgroup besides: packet sockets, and devices.
const AROUND_A_CGROUP: [CapabilitySet; 2] = [CapabilitySet::NET_RAW, CapabilitySet::NET_ADMIN];

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
            fs::write(path.join("cgroup.procs"), "0").map_err(|error| told(path, &error))?;
            own_mounts()?;
            // Who may write there could leave.
            for place in cgroup_mounts()? {
                mount_again(&place, MsFlags::MS_RDONLY)?;
            }
        }
        Place::Netns { id } => {
            // What the daemon has mounted may not be seen from here.
            let path = PathBuf::from(format!("/proc/{}/root/run/netns/sandbox-{id}", entry.daemon));
            let namespace = File::open(&path).map_err(|error| told(&path, &error))?;
            setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| told(&path, &errno.into()))?;
            own_mounts()?;
        }
    }
    name_resolvers(entry)?;
    if !entry.keeps_capabilities {
        let around = AROUND_A_CGROUP.iter().filter(|_| matches!(entry.place, Place::Cgroup { .. }));
        lose(&OUT_OF_A_NAMESPACE.iter().chain(around).copied().collect::<Vec<_>>())?;
    }
    Ok(())
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
    // A file system of its own, so that nothing of it stays.
    let own = Path::new("/run/sandbox-filter-run/mount");
    fs::create_dir_all(own)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let failed = |path: &Path, errno: Errno| told(path, &errno.into());
    mount(Some("tmpfs"), own, Some("tmpfs"), flags, Some("size=64k,mode=0755")).map_err(|errno| failed(own, errno))?;
    let file = own.join("resolv.conf");
    fs::write(&file, text)?;
    mount(Some(&file), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(|errno| failed(&target, errno))
}

/// Gives capabilities up for good.
fn lose(these: &[CapabilitySet]) -> io::Result<()> {
    for one in these {
        // A kernel that does not know one has nothing to take away.
        match remove_capability_from_bounding_set(*one) {
            Err(error) if error != rustix::io::Errno::INVAL => return Err(error.into()),
            _ => {}
        }
    }
    clear_ambient_capability_set()?;
    let mut sets = capabilities(None)?;
    for one in these {
        sets.effective.remove(*one);
        sets.permitted.remove(*one);
        sets.inheritable.remove(*one);
    }
    Ok(set_capabilities(None, sets)?)
}

fn told(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
