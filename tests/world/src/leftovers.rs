//! Removing worlds: the own one at its end, and those of processes that were killed before they could.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::id,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{node::NETNS_DIR, poll::wait_until, tools};

/// What every name that a world makes begins with; the process's id and a counter follow.
pub(crate) const PREFIX: &str = "sf-test-";

/// Where worlds pin BPF objects.
pub(crate) const BPFFS: &str = "/sys/fs/bpf";

/// Removes what processes that are gone left behind: their processes, namespaces, pins and directories.
pub(crate) fn remove_stale() -> Result<()> {
    let namespaces = stale_entries(Path::new(NETNS_DIR))?;
    remove_namespaces(&namespaces)?;
    for parent in [Path::new(BPFFS), &std::env::temp_dir()] {
        for path in stale_entries(parent)? {
            remove_tree(&path)?;
        }
    }
    remove_cgroups(|path| owner(path).is_some_and(is_gone))
}

/// Removes the cgroups, of those beside this process's own, that daemons have left which were killed.
pub(crate) fn remove_cgroups(is_left: impl Fn(&Path) -> bool) -> Result<()> {
    let (mounts, own) = (fs::read_to_string("/proc/self/mountinfo")?, fs::read_to_string("/proc/self/cgroup")?);
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    let (Some(mount), Some(own)) = (mount, own.lines().find_map(|line| line.strip_prefix("0::/"))) else {
        return Ok(());
    };
    for entry in fs::read_dir(Path::new(mount).join(own))?.flatten() {
        if is_left(&entry.path()) {
            // One that is in use or gone meanwhile is left alone.
            fs::remove_dir(entry.path()).ok();
        }
    }
    Ok(())
}

/// Kills all processes in the namespaces behind `paths`, then removes the namespaces.
pub(crate) fn remove_namespaces(paths: &[PathBuf]) -> Result<()> {
    let inodes: Vec<u64> = paths.iter().filter_map(|path| fs::metadata(path).ok()).map(|meta| meta.ino()).collect();
    ensure!(wait_until(Duration::from_secs(5), || kill_members(&inodes) == 0), "processes in {paths:?} do not die");
    for path in paths {
        let name = path.file_name().unwrap_or_default();
        let output = tools::command("ip").args(["netns", "delete"]).arg(name).output().context("cannot run `ip`")?;
        // Another process may have removed the same leftover in the meantime.
        ensure!(
            output.status.success() || !path.exists(),
            "cannot remove the namespace {}: {}",
            path.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Removes a directory and all below it; one that is gone already is fine.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Kills every process whose network namespace is among `inodes`, and tells how many there were. Zombies have none.
fn kill_members(inodes: &[u64]) -> usize {
    if inodes.is_empty() {
        return 0;
    }
    let is_member = |pid: &i32| {
        fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|namespace| inodes.contains(&namespace.ino()))
    };
    let members: Vec<i32> = processes().filter(is_member).collect();
    for pid in &members {
        // A process that ended between the look and the kill is what was wanted.
        kill(Pid::from_raw(*pid), Signal::SIGKILL).ok();
    }
    members.len()
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| u32::try_from(*pid) != Ok(id()))
}

fn stale_entries(parent: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", parent.display())),
    };
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| owner(path).is_some_and(is_gone)).collect())
}

/// The id of the process that made a path, when the name is one of ours.
fn owner(path: &Path) -> Option<u32> {
    let (pid, _) = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
    pid.parse().ok()
}

fn is_gone(pid: u32) -> bool {
    !Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_have_an_owner() {
        assert_eq!(owner(Path::new("/run/netns/sf-test-12-0-x-host")), Some(12));
        for foreign in ["web", "sf-test", "sf-test-", "sf-test-x-1", "sf-test-12", "xsf-test-12-0"] {
            assert_eq!(owner(Path::new(foreign)), None, "{foreign}");
        }
    }

    #[test]
    fn the_living_are_not_gone() {
        assert!(!is_gone(id()));
        assert!(is_gone(u32::MAX));
    }
}
