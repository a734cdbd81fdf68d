//! The kernel side, as the daemon and other programs use it: load, attach, pin, switch, read.
//!
//! Whatever enforces is pinned, so it goes on without this process. A policy is replaced by building the new one beside the old
//! one and storing one pointer; a failure before that store changes nothing. Needs TCX (kernel 6.6) or clsact, `CAP_BPF`,
//! `CAP_NET_ADMIN`, and `CAP_SYS_ADMIN` to enter namespaces.

mod attachments;
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
mod slots;
mod survey;
mod sys;
mod tc;
mod time_wait;

#[cfg(feature = "bench")]
pub use bare::{Switched, time_bare_inserts};
#[cfg(feature = "bench")]
pub use bench::Budget;

pub use attachments::{Attachment, Place};
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
pub use slots::SlotState;
pub use survey::{Change, Gateway, Survey};
pub use sys::{close_on_exec, end_with_this_thread, return_memory, use_one_heap};

use crate::bridges::Bridges;
use crate::cgroup::Cgroup;
use crate::cgroups::Cgroups;
use crate::instance::Instance;
use crate::kept::Kept;
use crate::pins::Pins;
use crate::routes::Routes;
use crate::shared::{SHARED, Shared};
use filter_core::abi;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

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

    /// How new attachments are hooked.
    #[must_use]
    pub fn hook_kind(&self) -> HookKind {
        self.kind
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
