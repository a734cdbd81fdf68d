//! What the daemon holds: the kernel side, the store, and the sandboxes.

use super::config::Config;
use super::refusal::Refusal;
use super::store::{Record, Store};
use filter_core::abi::SandboxConfig;
use filter_dataplane::{Dataplane, Device, HookKind, Namespace, Place, netlink};
use filter_policy::{NetnsRef, Sandbox, Sources};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the reader of events knows of sandboxes, and learns of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// Its id.
    pub id: String,
    /// Resolvers that it asked in vain.
    pub resolvers: BTreeSet<IpAddr>,
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
    /// Hooks that no record knows, by slot.
    pub orphans: BTreeMap<u32, Place>,
    names: Names,
    last_incarnation: u32,
}

impl Node {
    /// Opens the kernel side and the store; holds no sandbox yet.
    pub(super) fn open(config: Config, state_dir: &Path, pin_dir: &Path) -> anyhow::Result<Node> {
        let dataplane = Dataplane::open_with(pin_dir, config.hook.chosen().unwrap_or_else(HookKind::probe))?;
        let store = Store::open(state_dir)?;
        Ok(Node {
            dataplane,
            config,
            store,
            sandboxes: BTreeMap::new(),
            orphans: BTreeMap::new(),
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

    /// The sandbox with this id.
    pub(super) fn held(&self, id: &str) -> Result<&Held, Refusal> {
        self.sandboxes.get(id).ok_or_else(|| Refusal::Unknown(id.to_owned()))
    }

    /// Puts a sandbox among those that are held.
    pub(super) fn hold(&mut self, held: Held) {
        let (id, key) = (held.record.document.id.clone(), (held.record.slot, held.record.incarnation));
        if !held.gone {
            self.names.write().expect("no panic under the lock").entry(key).or_default().id.clone_from(&id);
        }
        self.sandboxes.insert(id, held);
    }

    /// Takes a sandbox from those that are held.
    pub(super) fn let_go(&mut self, id: &str) -> Option<Held> {
        let held = self.sandboxes.remove(id)?;
        let key = (held.record.slot, held.record.incarnation);
        self.names.write().expect("no panic under the lock").remove(&key);
        Some(held)
    }

    /// A slot that nobody has.
    pub(super) fn free_slot(&self) -> Result<u32, Refusal> {
        // A link that no record knows has its slot as well.
        let mut taken: BTreeSet<u32> = self.dataplane.linked_slots()?.into_iter().collect();
        taken.extend(self.sandboxes.values().filter(|held| !held.gone).map(|held| held.record.slot));
        (Dataplane::FIRST_SLOT..filter_core::abi::MAX_SANDBOXES)
            .find(|slot| !taken.contains(slot))
            .ok_or_else(|| filter_dataplane::Error::Full.into())
    }

    /// The number of the next attachment.
    pub(super) fn next_incarnation(&mut self) -> anyhow::Result<u32> {
        self.last_incarnation = match self.last_incarnation.wrapping_add(1) {
            end if end & 0xffff == 0 => self.store.reserve_incarnations()?,
            next => next,
        };
        Ok(self.last_incarnation)
    }

    /// Brings every namespace's living protected prefixes up to date; `more` are those of a sandbox about to come.
    pub(super) fn protect(&mut self, more: Option<(&Sandbox, &Device)>) -> Result<(), filter_dataplane::Error> {
        let own = Namespace::own()?;
        let host = netlink::addresses(&own)?;
        let mut prefixes: BTreeSet<IpNet> = self.sandboxes.values().flat_map(|held| prefixes(&held.sandbox)).collect();
        let mut others: BTreeMap<u64, NetnsRef> = BTreeMap::new();
        for held in self.sandboxes.values().filter(|held| !held.gone) {
            if let Some(netns) = held.netns() {
                others.insert(held.record.netns_inode, netns.clone());
            }
        }
        if let Some((sandbox, device)) = more {
            prefixes.extend(self::prefixes(sandbox));
            if let Some(netns) = &device.netns {
                others.insert(device.netns_inode, netns.clone());
            }
        }
        self.dataplane.protect(own.inode(), &host, &prefixes)?;
        for (inode, netns) in others {
            let namespace = match Namespace::find(&netns) {
                Ok(namespace) if namespace.inode() == inode => namespace,
                // The namespace lost its name or is gone; what is protected there stays.
                _ => continue,
            };
            let there = netlink::addresses(&namespace)?;
            self.dataplane.protect(inode, there.iter().chain(&host), &prefixes)?;
        }
        Ok(())
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
