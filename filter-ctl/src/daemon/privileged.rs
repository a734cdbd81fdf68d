//! Processes that the hooks of a cgroup do not hold: those with a capability that leads around them, and those that can move
//! themselves to another cgroup.

use super::node::Node;
use crate::api::NoticeKind;
use filter_policy::Attach;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Capabilities (`capabilities(7)`) that lead around the hooks, by their numbers: packet sockets, devices and namespaces of their own, programs of their own.
const CAPABILITIES: [(u32, &str); 6] = [
    (12, "CAP_NET_ADMIN"),
    (13, "CAP_NET_RAW"),
    (16, "CAP_SYS_MODULE"),
    (19, "CAP_SYS_PTRACE"),
    (21, "CAP_SYS_ADMIN"),
    (39, "CAP_BPF"),
];

/// A process, and why a cgroup does not hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Privileged {
    pid: u32,
    name: String,
    why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// It has this capability.
    Capability(&'static str),
    /// It is root, and the file system of cgroups is mounted here, where it may write to it.
    Mount(PathBuf),
}

impl fmt::Display for Privileged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({}) ", self.pid, self.name)?;
        match &self.why {
            Why::Capability(name) => write!(f, "has {name}, which leads around what a cgroup can see"),
            Why::Mount(path) => write!(f, "is root's and may write to {}: it can leave the cgroup", path.display()),
        }
    }
}

/// Looks at the processes of a sandbox that is a cgroup, and tells of one that is not held unless the last look has found it as well.
pub(super) fn watch(node: &mut Node, id: &str) {
    let Some(held) = node.sandboxes.get(id).filter(|held| !held.gone) else { return };
    let Attach::Cgroup { path, allow_privileged: false } = &held.sandbox.attach else { return };
    let found = find(path);
    if found == node.privileged.get(id).cloned() {
        return;
    }
    match found {
        Some(privileged) => {
            tracing::error!(id, "{privileged}");
            node.news.tell(NoticeKind::Privileged, Some(id), privileged.to_string());
            node.privileged.insert(id.to_owned(), privileged);
        }
        None => drop(node.privileged.remove(id)),
    }
}

/// The first process of a cgroup, or of one below it, that is not held. One that ends meanwhile is none.
pub(super) fn find(cgroup: &Path) -> Option<Privileged> {
    let members = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let of_members = members.lines().filter_map(|line| line.parse().ok()).find_map(look);
    of_members.or_else(|| {
        let below =
            fs::read_dir(cgroup).ok()?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        below.into_iter().find_map(|entry| find(&entry.path()))
    })
}

fn look(pid: u32) -> Option<Privileged> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let status = read("status")?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let permitted = u64::from_str_radix(field("CapPrm")?, 16).ok()?;
    let capability = CAPABILITIES.iter().find(|(number, _)| permitted >> number & 1 != 0);
    let why = match capability {
        Some((_, name)) => Why::Capability(name),
        None => {
            let is_root = field("Uid")?.split_whitespace().any(|id| id == "0");
            Why::Mount(writable(&read("mountinfo")?).filter(|_| is_root)?)
        }
    };
    Some(Privileged { pid, name: field("Name")?.to_owned(), why })
}

/// Where a file system of cgroups is mounted so that it can be written to (`proc_pid_mountinfo(5)`).
fn writable(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (of_mount, of_kind) = line.split_once(" - ")?;
        let mut columns = of_mount.split(' ').skip(4);
        let (place, options) = (columns.next()?, columns.next()?);
        let is_writable = options.split(',').any(|option| option == "rw");
        (of_kind.starts_with("cgroup2 ") && is_writable).then(|| PathBuf::from(place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process;

    #[test]
    fn a_mount_that_is_read_only_is_none() {
        let mount = |options: &str| format!("41 31 0:38 / /sys/fs/cgroup {options} shared:9 - cgroup2 none rw\n");
        assert_eq!(writable(&mount("rw,nosuid")), Some(PathBuf::from("/sys/fs/cgroup")));
        assert_eq!(writable(&mount("ro,nosuid")), None);
        assert_eq!(writable("31 23 0:28 / /sys rw - sysfs sysfs rw\n"), None);
    }

    #[test]
    fn who_has_capabilities_is_found() {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let has_some = !status.contains("CapPrm:\t0000000000000000");
        assert_eq!(look(process::id()).is_some(), has_some);
        assert_eq!(look(u32::MAX), None);
    }
}
