//! Where a sandbox is attached, and its MAC address.
//!
//! Invariant: what comes out can be given to the kernel and the file system as it is: no relative path, no name with a
//! separator in it.

use std::path::{Component, Path, PathBuf};

use crate::{Attach, NetnsRef, Problem, document};

/// Longest name of a device in bytes, without the kernel's terminating zero (`IFNAMSIZ`).
const MAX_DEVICE_NAME: usize = 15;

/// Exactly one of: a device, perhaps in a namespace; a namespace; a cgroup.
pub(super) fn attach(written: &document::Attach) -> Result<Attach, Problem> {
    if written.allow_privileged && written.cgroup.is_none() {
        let problem = Problem::error("attach.allowPrivileged", "is about the processes of a cgroup");
        return Err(problem.hint("leave it out: nothing leads around the filter of a device"));
    }
    match (&written.interface, &written.netns, &written.cgroup) {
        (Some(name), within, None) => {
            Ok(Attach::Interface { name: interface(name)?, netns: within.as_deref().map(netns).transpose()? })
        }
        (None, Some(netns_text), None) => Ok(Attach::Netns(netns(netns_text)?)),
        (None, None, Some(path)) => {
            Ok(Attach::Cgroup { path: cgroup(path)?, allow_privileged: written.allow_privileged })
        }
        (None, None, None) => Err(Problem::error("attach", "names nothing").hint(
            "write one of { interface: NAME }, { interface: NAME, netns: NAME }, { netns: NAME }, { cgroup: PATH }",
        )),
        (_, _, Some(_)) => Err(Problem::error("attach.cgroup", "a cgroup stands alone")
            .hint("a sandbox has one attachment: a cgroup, or a device or namespace")),
    }
}

/// Six octets of a unicast address.
pub(super) fn mac(text: &str) -> Result<[u8; 6], Problem> {
    let refuse = |why: &str| Problem::error("mac", format!("{text:?}: {why}"));
    let mut octets = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
        let part = part.ok_or_else(|| {
            refuse("not a MAC address").hint("six pairs of hexadecimal digits, as in 02:00:00:00:00:07")
        })?;
        *octet = u8::from_str_radix(part, 16).map_err(|_| refuse("not a MAC address"))?;
    }
    if parts.next().is_some() {
        return Err(refuse("not a MAC address").hint("six pairs of hexadecimal digits, as in 02:00:00:00:00:07"));
    }
    if octets[0] & 1 == 1 || octets == [0; 6] {
        return Err(refuse("not the address of one device"));
    }
    Ok(octets)
}

/// What the kernel takes for a device name (`dev_valid_name`), in printable ASCII.
fn interface(name: &str) -> Result<String, Problem> {
    let good = !name.is_empty()
        && name.len() <= MAX_DEVICE_NAME
        && name != "."
        && name != ".."
        && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
    if good { Ok(name.to_owned()) } else { Err(refuse("attach.interface", name, "not a name that a device can have")) }
}

/// A name, an absolute path, or `pid:N`.
fn netns(text: &str) -> Result<NetnsRef, Problem> {
    const FIELD: &str = "attach.netns";
    if let Some(pid) = text.strip_prefix("pid:") {
        let digits = pid.bytes().all(|b| b.is_ascii_digit()) && !pid.starts_with('0');
        let pid = if digits { pid.parse().ok() } else { None };
        return pid
            .filter(|pid| *pid <= i32::MAX as u32)
            .map(NetnsRef::Pid)
            .ok_or_else(|| refuse(FIELD, text, "not a process id"));
    }
    if text.starts_with('/') {
        return absolute(text).map(NetnsRef::Path).ok_or_else(|| refuse(FIELD, text, "not a plain absolute path"));
    }
    let good = !text.is_empty() && text.len() <= 255 && text != "." && text != ".." && !text.contains(['/', '\0']);
    let good = good && !text.chars().any(char::is_control);
    if good {
        Ok(NetnsRef::Name(text.to_owned()))
    } else {
        Err(refuse(FIELD, text, "not a namespace").hint("write its name, an absolute path, or pid:N"))
    }
}

fn cgroup(path: &str) -> Result<PathBuf, Problem> {
    absolute(path).ok_or_else(|| refuse("attach.cgroup", path, "not a plain absolute path"))
}

/// A path from the root without `..`, without a zero byte, and not the root itself.
fn absolute(path: &str) -> Option<PathBuf> {
    let path = (path.len() < 4096 && !path.chars().any(char::is_control)).then(|| Path::new(path))?;
    let mut parts = path.components();
    let plain =
        parts.next() == Some(Component::RootDir) && parts.clone().all(|part| matches!(part, Component::Normal(_)));
    (plain && parts.next().is_some()).then(|| path.to_owned())
}

fn refuse(field: &str, text: &str, why: &str) -> Problem {
    super::quoted(field, text, why)
}
