//! The routing rules and routes that keep what is handed over on this host, and the program that finds its listener: where they are needed, and
//! for how long.

use crate::{Dataplane, Error, Marks, Namespace, netlink, time_wait};
use aya::programs::sk_lookup::SkLookupLink;
use filter_policy::NetnsRef;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Namespaces that have them, by inode.
pub(crate) type Routes = BTreeMap<u64, Kept>;

/// A namespace, and the slots whose packets stay there.
pub(crate) struct Kept {
    netns: Option<NetnsRef>,
    marks: Marks,
    slots: BTreeSet<u32>,
    /// The program goes with it.
    _lookup: SkLookupLink,
}

impl Dataplane {
    /// Keeps marked packets in a namespace for as long as a slot needs it.
    pub(crate) fn keep_marked(
        &mut self,
        slot: u32,
        netns: Option<&NetnsRef>,
        marks: Marks,
    ) -> Result<Namespace, Error> {
        let namespace = Namespace::find_or_own(netns)?;
        let kept = match self.routes.entry(namespace.inode()) {
            Entry::Occupied(there) => {
                netlink::keep_marked(&namespace, marks)?;
                there.into_mut()
            }
            Entry::Vacant(free) => {
                // Last what stays when something fails.
                let lookup = time_wait::attach(&self.pins, &namespace)?;
                netlink::keep_marked(&namespace, marks)?;
                free.insert(Kept { netns: netns.cloned(), marks, slots: BTreeSet::new(), _lookup: lookup })
            }
        };
        kept.slots.insert(slot);
        Ok(namespace)
    }

    /// Ends what a slot needed: a namespace that nobody needs it in has no rule and no route of the filter's any more.
    pub(crate) fn leave_routes(&mut self, slot: u32) -> Result<(), Error> {
        let mut left = Vec::new();
        self.routes.retain(|inode, kept| {
            let is_left = kept.slots.remove(&slot) && kept.slots.is_empty();
            if is_left {
                left.push((*inode, kept.netns.clone(), kept.marks));
            }
            !is_left
        });
        left.into_iter().try_for_each(|(inode, netns, marks)| match Namespace::find_or_own(netns.as_ref()) {
            Ok(namespace) if namespace.inode() == inode => netlink::let_marked_go(&namespace, marks),
            // What was there went with it.
            _ => Ok(()),
        })
    }

    /// Makes again what somebody has removed; tells in which namespaces.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn mend_routes(&self) -> Result<Vec<String>, Error> {
        let mut mended = Vec::new();
        for (inode, Kept { netns, marks, .. }) in &self.routes {
            let namespace = Namespace::find_or_own(netns.as_ref()).ok().filter(|found| found.inode() == *inode);
            if let Some(namespace) = namespace
                && netlink::keep_marked(&namespace, *marks)?
            {
                mended.push(namespace.label().to_owned());
            }
        }
        Ok(mended)
    }
}
