//! What the daemon holds: the kernel side, the store, and the sandboxes.

use super::config::Config;
use super::connections::{self, Log};
use super::hosts::Hosts;
use super::index::Index;
use super::news::News;
use super::privileged::Privileged;
use super::refusal::Refusal;
use super::sidecar::{Judged, Sidecar};
use super::store::{Record, Store};
use super::totals::{Reading, Totals};
use filter_core::abi::SandboxConfig;
use filter_dataplane::{Dataplane, HookKind, Place};
use filter_policy::{NetnsRef, Sandbox, Sources};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What the reader of events knows of sandboxes, and learns of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// Its id.
    pub id: String,
    /// Resolvers that it asked in vain.
    pub resolvers: BTreeSet<IpAddr>,
    /// How often the sidecar has refused it something, by the number of the reason.
    pub refused: BTreeMap<u8, u64>,
}

/// Sandboxes by slot and incarnation, for the events.
pub(super) type Names = Arc<RwLock<HashMap<(u32, u32), Heard>>>;

/// A sandbox that the daemon holds.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// As it is on disk.
    pub record: Record,
    /// Its document, checked.
    pub sandbox: Sandbox,
    /// What the kernel knows of its attachment.
    pub config: SandboxConfig,
    /// Whether its device has vanished; it has no slot then.
    pub gone: bool,
}

impl Held {
    /// Where it is in the kernel.
    pub(super) fn place(&self) -> Place {
        self.record.place()
    }

    /// What its events are told by.
    pub(super) fn key(&self) -> (u32, u32) {
        (self.record.slot, self.record.incarnation)
    }

    /// The namespace of its device, as the document names it.
    pub(super) fn netns(&self) -> Option<&NetnsRef> {
        match &self.sandbox.attach {
            filter_policy::Attach::Interface { netns, .. } => netns.as_ref(),
            _ => None,
        }
    }
}

/// The daemon's whole state.
pub(super) struct Node {
    pub dataplane: Dataplane,
    pub config: Config,
    pub store: Store,
    pub sandboxes: BTreeMap<String, Held>,
    /// Ids that the provider is being asked for, or has made something of for nobody: they are not there for clients.
    pub making: BTreeSet<String>,
    /// Hooks that no record knows, by slot.
    pub orphans: BTreeMap<u32, Place>,
    pub index: Index,
    pub hosts: Hosts,
    pub sidecar: Sidecar,
    /// Where connections are told that have ended.
    pub connections: Log,
    /// What is told to whoever watches.
    pub news: News,
    /// What all sandboxes have counted.
    pub totals: Totals,
    /// Why the attachment of a sandbox could not be looked at or mended the last time, by its id.
    pub troubles: BTreeMap<String, String>,
    /// Processes that the cgroup of their sandbox does not hold, by its id.
    pub privileged: BTreeMap<String, Privileged>,
    /// When all devices were looked at last.
    pub looked: Option<Instant>,
    /// When the disk took last what was written to try it.
    pub probed: Option<Instant>,
    names: Names,
    last_incarnation: u32,
}

impl Node {
    /// Opens the kernel side and the store; holds no sandbox yet.
    pub(super) fn open(config: Config, state_dir: &Path, pin_dir: &Path) -> anyhow::Result<Node> {
        let mut dataplane = Dataplane::open_with(pin_dir, config.hook.chosen().unwrap_or_else(HookKind::probe))?;
        dataplane.limit_flows(config.flows.0);
        let connections = Log::start(connections::open(config.connections.as_ref())?)?;
        let (store, news) = (Store::open(state_dir)?, News::new());
        Ok(Node {
            dataplane,
            config,
            store,
            sandboxes: BTreeMap::new(),
            making: BTreeSet::new(),
            orphans: BTreeMap::new(),
            index: Index::new(),
            hosts: Hosts::open()?,
            sidecar: Sidecar::new(news.clone(), connections.clone()),
            connections,
            news,
            totals: Totals::new(),
            troubles: BTreeMap::new(),
            privileged: BTreeMap::new(),
            looked: None,
            probed: None,
            names: Names::default(),
            last_incarnation: u32::MAX,
        })
    }

    /// Ids by slot and incarnation, kept up to date.
    pub(super) fn names(&self) -> Names {
        self.names.clone()
    }

    /// Resolvers that a sandbox asked in vain.
    pub(super) fn denied_resolvers(&self, held: &Held) -> Vec<IpAddr> {
        let names = self.names.read().expect("no panic under the lock");
        let heard = names.get(&(held.record.slot, held.record.incarnation));
        heard.map(|heard| heard.resolvers.iter().copied().collect()).unwrap_or_default()
    }

    /// How often the sidecar has refused a sandbox something, by the number of the reason, since the daemon has started.
    pub(super) fn refused(&self, held: &Held) -> BTreeMap<u8, u64> {
        let names = self.names.read().expect("no panic under the lock");
        names.get(&held.key()).map(|heard| heard.refused.clone()).unwrap_or_default()
    }

    /// What the kernel and the sidecar have counted of a sandbox that is attached.
    pub(super) fn reading(&self, record: &Record) -> Result<Reading, filter_dataplane::Error> {
        let counters = self.dataplane.counters(record.slot)?;
        let names = self.names.read().expect("no panic under the lock");
        let nothing = BTreeMap::new();
        let refused = names.get(&(record.slot, record.incarnation)).map_or(&nothing, |heard| &heard.refused);
        Ok(Reading::new(counters.as_ref(), refused))
    }

    /// Takes a sandbox off its device, or what is left of it in the kernel if that is gone. What it has counted stays in the sums.
    pub(super) fn detach(&mut self, record: &Record) -> Result<(), filter_dataplane::Error> {
        let last = self.reading(record)?;
        self.dataplane.detach(record.place())?;
        self.totals.end((record.slot, record.incarnation), &record.document.id, last);
        Ok(())
    }

    /// The sandbox with this id.
    pub(super) fn held(&self, id: &str) -> Result<&Held, Refusal> {
        self.sandboxes.get(id).ok_or_else(|| Refusal::Unknown(id.to_owned()))
    }

    /// Puts a sandbox among those that are held, in the place of what it was.
    pub(super) fn hold(&mut self, held: Held) {
        let id = held.record.document.id.clone();
        // Before the old ones are given up: no address is open meanwhile.
        self.keep_protected(&held.sandbox);
        let old = self.sandboxes.remove(&id);
        if let Some(old) = &old {
            self.leave_out(old, held.gone || old.key() != held.key());
        }
        self.index.add(&held);
        if !held.gone && old.as_ref().is_none_or(|old| old.gone || old.key() != held.key()) {
            self.found(held.place());
        }
        if !held.gone {
            self.names.write().expect("no panic under the lock").entry(held.key()).or_default().id.clone_from(&id);
        }
        let inode = held.record.netns_inode;
        self.sandboxes.insert(id, held);
        self.unfollow_if_empty(inode);
    }

    /// Takes a sandbox from those that are held. Its slot is free for others from now on.
    pub(super) fn let_go(&mut self, id: &str) -> Option<Held> {
        let held = self.sandboxes.remove(id)?;
        self.troubles.remove(id);
        self.privileged.remove(id);
        self.leave_out(&held, true);
        self.unfollow_if_empty(held.record.netns_inode);
        Some(held)
    }

    fn leave_out(&mut self, held: &Held, unheard: bool) {
        self.index.remove(held);
        if unheard {
            self.end_names(held.record.slot);
            if self.config.connections.is_some() {
                self.connections.ends(held.key(), held.sandbox.id.as_str());
            }
            self.names.write().expect("no panic under the lock").remove(&held.key());
            self.news.forget(held.key());
        }
        self.unprotect(&held.sandbox);
    }

    /// A slot that nobody has. It is taken until [`Self::give_back`], or until the sandbox that is held in it is let go.
    pub(super) fn free_slot(&mut self) -> Result<u32, Refusal> {
        self.index.take_slot().ok_or_else(|| filter_dataplane::Error::Full.into())
    }

    /// Gives back a slot in which nothing could be attached; one whose links could not be taken back stays taken.
    pub(super) fn give_back(&mut self, slot: u32) {
        if !self.dataplane.is_linked(slot) {
            self.index.give_back(slot);
        }
    }

    /// The number of the next attachment.
    pub(super) fn next_incarnation(&mut self) -> anyhow::Result<u32> {
        self.last_incarnation = match self.last_incarnation.wrapping_add(1) {
            end if end & 0xffff == 0 => self.store.reserve_incarnations()?,
            next => next,
        };
        Ok(self.last_incarnation)
    }

    /// Prepares the sidecar for a policy of a sandbox, if it has a part in it or had one in the last.
    pub(super) fn prepare_names(
        &mut self,
        record: &Record,
        kernel: &SandboxConfig,
        sandbox: &Sandbox,
    ) -> anyhow::Result<()> {
        let Node { sidecar, dataplane, config, .. } = self;
        let place = record.place();
        if !sandbox.policy.is_captured() && !sidecar.has(place.slot) {
            return Ok(());
        }
        let bridge = Some(kernel.bridge).filter(|bridge| *bridge != 0);
        sidecar.prepare(dataplane, config, &Judged { place, bridge, sandbox, generation: record.generation })
    }

    /// Ends all that the sidecar does for a slot.
    pub(super) fn end_names(&mut self, slot: u32) {
        self.sidecar.end(slot);
        if let Err(error) = self.dataplane.unlisten(slot) {
            tracing::warn!(%error, slot, "a bridge or the routing keeps what nobody needs");
        }
    }

    /// Protects the addresses of a sandbox about to come, until [`Self::unprotect`]. Who is held keeps his protected by himself.
    pub(super) fn protect(&mut self, sandbox: &Sandbox) -> Result<(), filter_dataplane::Error> {
        self.dataplane.protect(&prefixes(sandbox))
    }

    /// Ends what [`Self::protect`] began.
    pub(super) fn unprotect(&mut self, sandbox: &Sandbox) {
        if let Err(error) = self.dataplane.unprotect(&prefixes(sandbox)) {
            tracing::error!(%error, id = %sandbox.id, "addresses stay protected that nobody has");
        }
    }

    fn keep_protected(&mut self, sandbox: &Sandbox) {
        if let Err(error) = self.protect(sandbox) {
            tracing::error!(%error, id = %sandbox.id, "its addresses are not protected from other sandboxes");
        }
    }
}

/// The prefixes that a sandbox may send from; none when it may send from anywhere.
pub(super) fn prefixes(sandbox: &Sandbox) -> Vec<IpNet> {
    match &sandbox.sources {
        Sources::Any => Vec::new(),
        Sources::Prefixes(prefixes) => prefixes.clone(),
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
