//! The kernel side, as the daemon and other programs use it: load, attach, pin, switch, read.
//!
//! Whatever enforces is pinned, so it goes on without this process. A policy is replaced by building the new one beside the old
//! one and storing one pointer; a failure before that store changes nothing. Needs TCX (kernel 6.6) or clsact, `CAP_BPF`,
//! `CAP_NET_ADMIN`, and `CAP_SYS_ADMIN` to enter namespaces.

#[cfg(feature = "bench")]
mod bare;
#[cfg(feature = "bench")]
mod bench;
mod blocks;
mod bridges;
pub mod cgroup;
mod cgroups;
mod connections;
mod counters;
mod destroy;
mod device;
mod error;
mod events;
mod explain;
mod extents;
mod fail_point;
mod flows;
mod guard;
mod hook;
mod instance;
mod kept;
mod kernel_types;
mod links;
mod listeners;
mod living;
mod log;
mod made;
mod many;
mod namespace;
pub mod netlink;
mod nodes;
mod notices;
mod outer;
mod pins;
mod placed;
mod pod;
pub mod probe;
mod programs;
mod protection;
#[cfg(feature = "record")]
mod record;
mod routes;
mod sandboxes;
mod shared;
mod survey;
mod sys;
mod tc;
mod time_wait;

#[cfg(feature = "bench")]
pub use bare::{Switched, time_bare_inserts};
#[cfg(feature = "bench")]
pub use bench::Budget;

pub use cgroup::here as own_cgroup;
pub use cgroups::CgroupPath;
pub use connections::{Connections, Looked};
pub use counters::Counters;
pub use destroy::{Connected, end_sockets};
pub use device::Device;
pub use error::{DeviceError, Error};
pub use events::Events;
pub use explain::{Judgement, Outcome};
pub use fail_point::fail_point;
pub use guard::Dials;
pub use hook::HookKind;
pub use links::LinkWatch;
pub use listeners::Marks;
pub use many::{ToAttach, ToUpdate};
pub use namespace::Namespace;
pub use notices::{Changes, Notices, Watcher};
#[cfg(feature = "record")]
pub use record::Records;
pub use survey::{Change, Gateway, Survey};
pub use sys::{close_on_exec, end_with_this_thread, return_memory, use_one_heap};

use crate::bridges::Bridges;
use crate::cgroup::Cgroup;
use crate::cgroups::Cgroups;
use crate::hook::{Hook, Spot};
use crate::instance::Instance;
use crate::kept::Kept;
use crate::pins::Pins;
use crate::routes::Routes;
use crate::shared::{SHARED, Shared};
use filter_core::abi::{self, SandboxConfig};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

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

/// What the kernel enforces in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// The attachment.
    pub config: SandboxConfig,
    /// Generation of the policy.
    pub generation: u32,
}

/// Everything that is pinned below a pin directory, of whatever version. Needs no daemon.
///
/// # Errors
/// When the directory cannot be read.
pub fn pinned(pin_dir: &Path) -> Result<Vec<PathBuf>, Error> {
    pins::list(pin_dir)
}

/// Removes a pin directory and all that is pinned below it: nothing of it enforces any more. Returns what was there.
///
/// # Errors
/// When a daemon uses the directory, or something cannot be removed.
pub fn purge(pin_dir: &Path) -> Result<Vec<PathBuf>, Error> {
    pins::remove_all(pin_dir)
}

/// The kernel objects of one daemon.
pub struct Dataplane {
    pins: Pins,
    shared: Shared,
    own_netns: u64,
    instances: HashMap<u64, Instance>,
    bridges: Bridges,
    routes: Routes,
    guard: Option<Cgroup>,
    /// The programs of cgroups, once a sandbox is one.
    cgroups: Option<Cgroups>,
    kind: HookKind,
    /// The pins of the maps that all share.
    maps: Kept,
    /// The namespace whose pins were looked at last.
    looked_at: u64,
    /// Whether no daemon before has left anything in the slots.
    was_empty: bool,
}

impl Dataplane {
    /// First slot that a sandbox can have; those before are for made packets and for what the sidecar dials.
    pub const FIRST_SLOT: u32 = abi::DIALS + 1;

    /// Checks rights and kernel, opens what is pinned below `pin_dir` and makes what is missing. Nothing that enforces changes.
    ///
    /// # Errors
    /// [`Error::Unsupported`], [`Error::ForeignAbi`], or what the kernel refused.
    pub fn open(pin_dir: &Path) -> Result<Dataplane, Error> {
        Dataplane::open_with(pin_dir, HookKind::probe())
    }

    /// As [`Self::open`], with hooks of this kind for new attachments; those that are there keep theirs.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(pin_dir: &Path, kind: HookKind) -> Result<Dataplane, Error> {
        probe::check(kind)?;
        let pins = Pins::open(pin_dir)?;
        let own = Namespace::own()?.inode();
        let is_new = Shared::make_arrays(&pins)?;
        let instance = Instance::load(&pins, own)?;
        let shared = Shared::open(&pins, is_new)?;
        let maps = Kept::hold(SHARED.map(|name| pins.map(name)))?;
        Ok(Dataplane {
            pins,
            shared,
            own_netns: own,
            instances: HashMap::from([(own, instance)]),
            bridges: Bridges::new(),
            routes: Routes::new(),
            guard: None,
            cgroups: None,
            kind,
            maps,
            looked_at: 0,
            was_empty: is_new,
        })
    }

    /// The deny events of all sandboxes. One consumer at a time.
    ///
    /// # Errors
    /// When the ring cannot be opened.
    pub fn events(&self) -> Result<Events, Error> {
        Events::open(&self.pins)
    }

    /// Sandboxes that are attached in a namespace from now on are judged by the recording program, whose records these are.
    ///
    /// # Errors
    /// When the program cannot be loaded.
    #[cfg(feature = "record")]
    pub fn record(&mut self, netns_inode: u64) -> Result<Records, Error> {
        let (instance, records) = Instance::load_recording(&self.pins, netns_inode)?;
        self.instances.insert(netns_inode, instance);
        Ok(records)
    }

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

    /// The programs of cgroups, loaded when they are needed first, and the pins.
    pub(crate) fn cgroups(&mut self) -> Result<(&mut Cgroups, &Pins), Error> {
        if self.cgroups.is_none() {
            self.cgroups = Some(Cgroups::load(&self.pins, self.own_netns)?);
            return_memory();
        }
        Ok((self.cgroups.as_mut().expect("they are loaded"), &self.pins))
    }

    /// What looks at the links that are held, at any time.
    #[must_use]
    pub fn watch_links(&self) -> LinkWatch {
        self.pins.links.watch()
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

    /// How new attachments are hooked.
    #[must_use]
    pub fn hook_kind(&self) -> HookKind {
        self.kind
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

    /// Replaces what is known of the attachment: addresses, gateway, limits, or the seal.
    ///
    /// # Errors
    /// What the kernel refused; the old configuration is whole then.
    pub fn configure(&mut self, slot: u32, config: &SandboxConfig) -> Result<(), Error> {
        self.shared.flows.provide(&[(slot, flows::is_open(config))]).into_iter().collect::<Result<(), _>>()?;
        self.shared.set_config(slot, config)
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

    /// Whether a slot has all that a sandbox's has: a sandbox that is attached is given all of it before its hooks.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn is_full(&self, slot: u32) -> Result<bool, Error> {
        self.shared.is_full(slot)
    }

    /// What the kernel enforces in a slot; `None` when it is empty.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn state(&self, slot: u32) -> Result<Option<SlotState>, Error> {
        let held = self.shared.sandbox(slot)?;
        Ok(held.map(|held| SlotState { config: held.config, generation: held.policy.generation() }))
    }

    /// Empties all slots but the `known` ones and those that have links: what an operation of a daemon before left that was never completed.
    /// Tells which had something in them.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn sweep(&mut self, known: &BTreeSet<u32>) -> Result<Vec<u32>, Error> {
        if self.was_empty {
            return Ok(Vec::new());
        }
        let mut kept: BTreeSet<u32> = self.linked_slots()?.into_iter().collect();
        kept.extend(known);
        kept.insert(abi::DIALS);
        let swept: Vec<u32> = self.shared.occupied()?.difference(&kept).copied().collect();
        for slot in &swept {
            self.shared.clear(&self.pins, *slot)?;
        }
        Ok(swept)
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

    /// A sandbox's counters; `None` when the slot is empty.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn counters(&self, slot: u32) -> Result<Option<Counters>, Error> {
        self.shared.counters(slot)
    }

    /// Packets on devices that belong to no sandbox.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn strays(&self) -> Result<u64, Error> {
        self.shared.strays()
    }
}

fn instance<'a>(
    instances: &'a mut HashMap<u64, Instance>,
    pins: &Pins,
    netns_inode: u64,
) -> Result<&'a mut Instance, Error> {
    match instances.entry(netns_inode) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => Ok(entry.insert(Instance::load(pins, netns_inode)?)),
    }
}
