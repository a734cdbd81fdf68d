//! Where sandboxes are hooked: how that is, taking it over from an earlier daemon, mending it, and taking it away.

use crate::hook::{Hook, Spot};
use crate::{CgroupPath, Dataplane, Device, Error, HookKind, cgroups, fail_point, hook, instance};
use std::path::Path;

/// Where a sandbox is attached in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Its index in the arrays of maps.
    pub slot: u32,
    /// The inode of the namespace of its device; of a cgroup its id, which is its inode.
    pub netns_inode: u64,
    /// The index of its device there; 0, which no device has, of a cgroup.
    pub ifindex: u32,
}

impl Place {
    /// Whether a cgroup is there, and no device.
    #[must_use]
    pub fn is_cgroup(self) -> bool {
        self.ifindex == 0
    }
}

/// How the links or filters of an attachment are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// They are in place.
    Whole,
    /// Their device is gone.
    Gone,
    /// They are on their device, but somebody has removed the pin of one or given it another program.
    Changed,
    /// Somebody has taken one of them off; the device is the one that it was.
    Torn,
    /// None of them is on the device, if the one with its index is the same: another may have come in its place.
    Bare,
}

impl Dataplane {
    /// Takes over an attachment that an earlier daemon has pinned: puts this daemon's program behind the link without a gap.
    /// Returns `false`, having done nothing, when the device is gone.
    ///
    /// # Errors
    /// What the kernel refused; the attachment enforces as before then.
    pub fn adopt(&mut self, place: Place) -> Result<bool, Error> {
        if self.attachment(place)? == Attachment::Gone {
            return Ok(false);
        }
        if place.is_cgroup() {
            let (cgroups, pins) = self.cgroups()?;
            return cgroups.adopt(pins, place);
        }
        let pins = &self.pins;
        instance(&mut self.instances, pins, place.netns_inode)?.adopt(pins, place)
    }

    /// How an attachment is.
    ///
    /// # Errors
    /// When a pinned link cannot be read.
    pub fn attachment(&self, place: Place) -> Result<Attachment, Error> {
        if place.is_cgroup() {
            return cgroups::attachment(&self.pins, place);
        }
        let spots = Hook::ALL.map(|hook| Spot { pins: &self.pins, place, hook });
        let instance = self.instances.get(&place.netns_inode);
        hook::attachment(&spots, |hook| instance.map(|instance| instance.program_id(hook)))
    }

    /// How an attachment is hooked: as it was made, or as it would be.
    #[must_use]
    pub fn hook(&self, place: Place) -> HookKind {
        let pinned = Hook::ALL.into_iter().find_map(|hook| Spot { pins: &self.pins, place, hook }.kind().ok()?);
        pinned.unwrap_or(self.kind)
    }

    /// What people call how an attachment is hooked.
    #[must_use]
    pub fn hook_name(&self, place: Place) -> &'static str {
        if place.is_cgroup() { "cgroup" } else { self.hook(place).name() }
    }

    /// Attaches again whatever links or filters somebody has removed. The device must be the one that the place tells of.
    ///
    /// # Errors
    /// What the kernel refused; what is left of the attachment enforces.
    pub fn mend(&mut self, place: Place, device: &Device) -> Result<(), Error> {
        if place.is_cgroup() {
            let (cgroups, pins) = self.cgroups()?;
            return cgroups.mend(pins, place, &CgroupPath::find(Path::new(&device.name))?);
        }
        let instance = instance(&mut self.instances, &self.pins, place.netns_inode)?;
        instance.assign(place.ifindex, place.slot)?;
        fail_point("mend.assigned");
        instance.mend(&self.pins, device, place, self.kind)
    }

    /// Takes the program off a device and empties the slot. The device is not filtered any more.
    ///
    /// # Errors
    /// What the kernel refused; what is left can be detached again.
    pub fn detach(&mut self, place: Place) -> Result<(), Error> {
        if place.is_cgroup() {
            // Of a slot whose device is not known there may be others.
            cgroups::detach(&self.pins, place)?;
            instance::detach(&self.pins, place)?;
            self.unlisten(place.slot)?;
            return self.shared.clear(&self.pins, place.slot);
        }
        instance::detach(&self.pins, place)?;
        self.unlisten(place.slot)?;
        self.release(place)?;
        self.shared.clear(&self.pins, place.slot)
    }

    /// Where the hooks of a slot are, whoever attached them; `None` when no device belongs to it.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn place_of(&self, slot: u32) -> Result<Option<Place>, Error> {
        if let Some(netns_inode) = cgroups::cgroup_of(&self.pins, slot) {
            return Ok(Some(Place { slot, netns_inode, ifindex: 0 }));
        }
        for netns_inode in self.pins.namespaces()? {
            if let Some(ifindex) = instance::ifindex_of(&self.pins, netns_inode, slot)? {
                return Ok(Some(Place { slot, netns_inode, ifindex }));
            }
        }
        Ok(None)
    }

    /// Makes packets of a place's device belong to nobody, and forgets its namespace with the last one there.
    fn release(&mut self, Place { netns_inode, ifindex, .. }: Place) -> Result<(), Error> {
        if !self.instances.contains_key(&netns_inode) && !self.pins.namespace(netns_inode).exists() {
            return Ok(());
        }
        let instance = instance(&mut self.instances, &self.pins, netns_inode)?;
        instance.release(ifindex)?;
        fail_point("detach.released");
        if instance.is_idle() && netns_inode != self.own_netns {
            self.instances.remove(&netns_inode);
            self.pins.forget_namespace(netns_inode)?;
        }
        Ok(())
    }

    /// Whether a link of a slot is pinned, whoever did it.
    #[must_use]
    pub fn is_linked(&self, slot: u32) -> bool {
        Hook::ALL.into_iter().any(|hook| self.pins.link(slot, hook).exists()) || cgroups::is_linked(&self.pins, slot)
    }

    /// Slots whose links are pinned, whoever did it.
    ///
    /// # Errors
    /// When the pin directory cannot be read.
    pub fn linked_slots(&self) -> Result<Vec<u32>, Error> {
        self.pins.linked_slots()
    }
}
