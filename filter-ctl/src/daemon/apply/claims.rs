//! What documents that are not carried out yet are about.

use super::cgroups;
use crate::daemon::index::Taken;
use crate::daemon::node::prefixes;
use filter_dataplane::Device;
use filter_policy::Sandbox;
use ipnet::IpNet;
use std::collections::HashSet;

/// Ids, devices and addresses that documents lay claim to.
#[derive(Default)]
pub(super) struct Claims {
    ids: HashSet<String>,
    taken: Taken,
}

impl Claims {
    /// Adds those of a document.
    pub(super) fn add(&mut self, sandbox: &Sandbox, device: &Device) {
        self.ids.insert(sandbox.id.to_string());
        self.taken.add(sandbox.id.as_str(), (device.netns_inode, device.ifindex), &prefixes(sandbox));
    }

    /// Whether there is a document with this id.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Whose document is about the cgroup with this id.
    pub(super) fn of_cgroup(&self, id: u64) -> Option<&str> {
        self.taken.at(id, 0)
    }

    /// Whose document is about a device.
    pub(super) fn at(&self, device: &Device) -> Option<&str> {
        self.taken.at(device.netns_inode, device.ifindex)
    }

    /// A prefix that has an address in common with this one, and whose it is.
    pub(super) fn meeting(&self, device: &Device, prefix: &IpNet) -> Option<(IpNet, &str)> {
        self.taken.meeting(device.netns_inode, prefix).into_iter().next()
    }

    /// Whether a document is about anything that these are about.
    pub(super) fn meet(&self, sandbox: &Sandbox, device: &Device) -> bool {
        let in_common = |prefix: &IpNet| self.meeting(device, prefix).is_some();
        self.has(sandbox.id.as_str())
            || self.at(device).is_some()
            || prefixes(sandbox).iter().any(in_common)
            || cgroups::meet(self, sandbox)
    }
}
