//! What keeps a cgroup from being a sandbox.

use super::claims::Claims;
use crate::daemon::node::Node;
use crate::daemon::privileged;
use filter_dataplane::own_cgroup;
use filter_policy::{Attach, Problem, Sandbox};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is wrong with the cgroup of a sandbox, if it is one and anything is; `is_new` where none is held by its id.
pub(super) fn problem(node: &Node, sandbox: &Sandbox, before: &Claims, is_new: bool) -> Option<Problem> {
    let Attach::Cgroup { path, allow_privileged } = &sandbox.attach else { return None };
    let at = |message: String| Problem::error("attach", message);
    if own_cgroup().is_ok_and(|own| lies_in(&own, path)) {
        let message = format!("the daemon itself is in {}: what it dials would be judged", path.display());
        return Some(at(message).hint("sandboxes are cgroups beside that of the daemon"));
    }
    if let Some((other, theirs)) = nested(node, sandbox.id.as_str(), path, before) {
        let message = format!("it and {}, the cgroup of sandbox \"{other}\", lie in each other", theirs.display());
        return Some(at(message).hint("sandboxes are cgroups beside each other"));
    }
    // An update is not held up: it may be what is to be denied to that process.
    if *allow_privileged || !is_new {
        return None;
    }
    let hint = "start it without that, or write attach: { cgroup: PATH, allowPrivileged: true } if you trust it";
    privileged::find(path).map(|privileged| at(privileged.to_string()).hint(hint))
}

/// The sandbox whose cgroup lies in another's, or the other way round.
fn nested<'a>(node: &'a Node, id: &str, path: &Path, before: &'a Claims) -> Option<(&'a str, &'a Path)> {
    let held = node.sandboxes.values().filter(|held| !held.gone && held.sandbox.id.as_str() != id);
    let of_held = held.filter_map(|held| match &held.sandbox.attach {
        Attach::Cgroup { path, .. } => Some((held.sandbox.id.as_str(), path.as_path())),
        _ => None,
    });
    of_held.chain(before.cgroups()).find(|(_, theirs)| lies_in(path, theirs) || lies_in(theirs, path))
}

/// Whether a cgroup is another or lies below it, wherever their file system is mounted.
pub(super) fn lies_in(path: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let Some(wanted) = identity(other) else { return false };
    fs::canonicalize(path).is_ok_and(|path| path.ancestors().any(|above| identity(above) == Some(wanted)))
}
