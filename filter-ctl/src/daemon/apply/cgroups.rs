//! What keeps a cgroup from being a sandbox.

use super::claims::Claims;
use crate::daemon::node::Node;
use crate::daemon::privileged;
use filter_dataplane::own_cgroup;
use filter_policy::{Attach, Problem, Sandbox};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The index of no device: with the id of a cgroup, that cgroup.
const CGROUP: u32 = 0;

/// What is wrong with the cgroup of a sandbox, if it is one and anything is; `is_new` where none is held by its id.
pub(super) fn problem(node: &Node, sandbox: &Sandbox, before: &Claims, is_new: bool) -> Option<Problem> {
    let Attach::Cgroup { path, allow_privileged } = &sandbox.attach else { return None };
    let at = |message: String| Problem::error("attach", message);
    let (above, below) = (above(path), below(path));
    if own_cgroup().is_ok_and(|own| id(&own).is_some_and(|own| id(path) == Some(own) || below.contains(&own))) {
        let message = format!("the daemon itself is in {}: what it dials would be judged", path.display());
        return Some(at(message).hint("sandboxes are cgroups beside that of the daemon"));
    }
    let of_cgroup = |id: &u64| node.index.at(*id, CGROUP).or_else(|| before.of_cgroup(*id));
    let mut theirs = above.iter().chain(&below).filter_map(of_cgroup).filter(|other| *other != sandbox.id.as_str());
    if let Some(other) = theirs.next() {
        let message = format!("{} and the cgroup of sandbox \"{other}\" lie in each other", path.display());
        return Some(at(message).hint("sandboxes are cgroups beside each other"));
    }
    // An update is not held up: it may be what is to be denied to that process.
    if *allow_privileged || !is_new {
        return None;
    }
    let hint = "start it without that, or write attach: { cgroup: PATH, allowPrivileged: true } if you trust it";
    privileged::find(path).map(|privileged| at(privileged.to_string()).hint(hint))
}

/// Whether a document is for a cgroup that lies in one of these, or has one of them in it.
pub(super) fn meet(claims: &Claims, sandbox: &Sandbox) -> bool {
    let Attach::Cgroup { path, .. } = &sandbox.attach else { return false };
    above(path).iter().chain(&below(path)).any(|id| claims.of_cgroup(*id).is_some())
}

/// The kernel's number of a cgroup, which is its inode (kernel 5.5).
fn id(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.ino())
}

/// The cgroups that it lies in.
fn above(path: &Path) -> Vec<u64> {
    let Ok(path) = fs::canonicalize(path) else { return Vec::new() };
    path.ancestors().skip(1).take_while(|above| above.join("cgroup.procs").exists()).filter_map(id).collect()
}

/// The cgroups in it. Links are none.
fn below(path: &Path) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.flat_map(|folder| id(&folder.path()).into_iter().chain(below(&folder.path()))).collect()
}
