//! What a command gives up for good before it begins: whatever leads out of its sandbox.

use landlock::{
    AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
};
use rustix::thread::{
    CapabilitySet, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};
use std::io;

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

/// For a command in a network namespace.
pub(super) fn to_namespace() -> io::Result<()> {
    lose(&OUT_OF_A_NAMESPACE)
}

/// For a command in a cgroup.
pub(super) fn to_cgroup() -> io::Result<()> {
    lose(&[&OUT_OF_A_NAMESPACE[..], &AROUND_A_CGROUP].concat())?;
    keep_out_of_others()
}

/// Keeps the command out of processes outside, by Landlock. Whose root directory it may open (`/proc/PID/root`) has mounts of its own: there the
/// file system of cgroups can be written, and root could leave its cgroup. Landlock lets nobody into processes that are bound less than he
/// is; that it has a rule is what it takes, and this one is about devices with disks in them. It also sets `no_new_privs`.
///
/// Files go from one directory to another only where a rule says so, which there can be since Linux 5.19.
fn keep_out_of_others() -> io::Result<()> {
    let told = |error: landlock::RulesetError| {
        io::Error::other(format!("{error}: --cgroup needs Landlock, leave it out or add --keep-capabilities"))
    };
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let rules = rules.handle_access(AccessFs::MakeBlock).map_err(told)?;
    let rules = rules.set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::Refer).map_err(told)?;
    let everywhere = PathFd::new("/").map_err(io::Error::other)?;
    let moves =
        PathBeneath::new(everywhere, BitFlags::from(AccessFs::Refer)).set_compatibility(CompatLevel::BestEffort);
    rules
        .create()
        .and_then(|rules| rules.add_rule(moves))
        .and_then(|rules| rules.restrict_self())
        .map(drop)
        .map_err(told)
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
