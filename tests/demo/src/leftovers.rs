//! Whether the world has gone without a trace.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use test_world::World;

use crate::screen::Screen;

/// Where `ip netns` keeps the names of namespaces.
const NETNS_DIR: &str = "/run/netns";

/// All places where a world leaves something while it lives.
pub(crate) struct Traces {
    tag: OsString,
    directories: [PathBuf; 2],
    namespaces: Vec<u64>,
}

impl Traces {
    /// The places of this world.
    pub(crate) fn of(world: &World) -> Self {
        Self {
            tag: world.dir().file_name().unwrap_or_default().to_owned(),
            directories: [world.dir().to_owned(), world.pin_dir().to_owned()],
            namespaces: Vec::new(),
        }
    }

    /// Remembers which namespaces there are, before they go: a process may outlive the name of its namespace.
    pub(crate) fn note(&mut self) {
        self.namespaces = self.named_namespaces().iter().filter_map(|path| inode(path)).collect();
    }

    /// Looks whether anything is left, and says so.
    pub(crate) fn check(&self, screen: &Screen) {
        let mut left: Vec<String> = self.named_namespaces().iter().map(|path| path.display().to_string()).collect();
        left.extend(self.directories.iter().filter(|path| path.exists()).map(|path| path.display().to_string()));
        left.extend(members(&self.namespaces).map(|pid| format!("process {pid}")));
        let [files, pins] = self.directories.each_ref().map(|path| path.display());
        screen.blank();
        screen.expect(
            left.is_empty(),
            &match left.as_slice() {
                [] => format!(
                    "Nothing is left: {} namespaces and every process in them are gone,\n    and so are {files} and {pins}",
                    self.namespaces.len()
                ),
                left => format!("Left behind: {}", left.join(", ")),
            },
        );
    }

    fn named_namespaces(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(NETNS_DIR).into_iter().flatten().flatten();
        let ours = |name: &OsStr| name.as_encoded_bytes().starts_with(self.tag.as_encoded_bytes());
        entries.filter(|entry| ours(&entry.file_name())).map(|entry| entry.path()).collect()
    }
}

/// The processes in any of these network namespaces. Zombies have none.
fn members(namespaces: &[u64]) -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    processes.filter(|pid| inode(Path::new(&format!("/proc/{pid}/ns/net"))).is_some_and(|it| namespaces.contains(&it)))
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|meta| meta.ino())
}
