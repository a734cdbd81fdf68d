//! Whom no sandbox reaches: the host and the other sandboxes.

use crate::netlink::DeviceAddress;
use crate::{Dataplane, Error, instance};
use ipnet::IpNet;
use std::collections::BTreeSet;

impl Dataplane {
    /// Protects a sandbox's addresses from all sandboxes. Counted: what two protect, one alone does not free.
    ///
    /// # Errors
    /// What the kernel refused; a part of the additions may be in effect, and the rest is tried again with the next change.
    pub fn protect(&mut self, prefixes: &[IpNet]) -> Result<(), Error> {
        self.shared.protected.claim_sandbox(prefixes);
        self.shared.protected.flush()
    }

    /// Takes back what [`Self::protect`] did.
    ///
    /// # Errors
    /// What the kernel refused; more is protected than need be then.
    pub fn unprotect(&mut self, prefixes: &[IpNet]) -> Result<(), Error> {
        self.shared.protected.release_sandbox(prefixes);
        self.shared.protected.flush()
    }

    /// Protects some of a namespace's own addresses, and the networks they are on, in the place of others. Those of the daemon's
    /// namespace are protected everywhere.
    ///
    /// # Errors
    /// As [`Self::protect`].
    pub fn protect_host(
        &mut self,
        netns_inode: u64,
        old: &[DeviceAddress],
        new: &[DeviceAddress],
    ) -> Result<(), Error> {
        let living = if netns_inode == self.own_netns {
            &mut self.shared.protected
        } else {
            instance(&mut self.instances, &self.pins, netns_inode)?.living()
        };
        living.replace_host(old, new);
        living.flush()
    }

    /// Removes what an earlier daemon protected and this one does not, in namespaces that are `known`, and what it pinned for
    /// namespaces that have no sandbox any more and are not to be `kept`.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn forget_rest(&mut self, kept: &BTreeSet<u64>, known: impl Fn(u64) -> bool) -> Result<(), Error> {
        self.shared.protected.doubt_all();
        self.shared.protected.flush()?;
        for (_, instance) in self.instances.iter_mut().filter(|(inode, _)| known(**inode)) {
            instance.living().doubt_all();
            instance.living().flush()?;
        }
        for inode in self.pins.namespaces()? {
            if !self.instances.contains_key(&inode) && !kept.contains(&inode) {
                self.pins.forget_namespace(inode)?;
            }
        }
        Ok(())
    }
}
