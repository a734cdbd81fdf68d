//! Sandboxes that are network namespaces of this host.
//!
//! ```text
//!  namespace sandbox-ID              host
//!  ┌──────────────────────┐
//!  │ lo   eth0 odd /31/127├── sfN even /31/127 ── masquerade, limit ── uplink
//!  └──────────────────────┘
//! ```
//!
//! What runs in it is for the caller: `ip netns exec sandbox-ID PROGRAM`, which also brings the nameservers. Nothing is written down: a device tells
//! whose it is, and where there is a device its number is taken.
//!
//! The host's own settings stay as they are. It must pass packets on already: for IPv4 from the uplink, for IPv6 altogether, which would change
//! how it takes router advertisements. Only parameters of the devices made here are set. One nftables table is made with the first sandbox, made whole
//! with every other, and removed with the last.

mod config;
mod connections;
mod firewall;
mod generation;
mod host;
mod links;
mod place;
mod pool;

pub use config::Config;

use crate::{Error, Made, devices};
use filter_dataplane::Namespace;
use filter_policy::NetnsRef;
use filter_policy::document::{self, Attach, OnDeny};
use ipnet::IpNet;
use pool::{Addresses, Pool, Taken};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Namespaces of this host.
pub struct Netns {
    config: Config,
    pool: Pool,
    host: Namespace,
    taken: Mutex<Taken>,
    /// Held while the firewall's table is made, removed or looked at: what it was when it was looked at last.
    table: Mutex<Option<Seen>>,
    /// Sandboxes whose files are there.
    kept: Mutex<BTreeSet<String>>,
}

/// The firewall's table.
struct Seen {
    /// The number of all rules.
    generation: Option<u32>,
    /// What `nft` shows of it.
    shown: Option<Vec<u8>>,
}

impl Netns {
    /// Checks the configuration against the host.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Host`], or what the kernel refused.
    pub fn new(config: &Config) -> Result<Netns, Error> {
        let pool = config.check()?;
        let host = Namespace::here()?;
        let own = links::own(&host)?;
        host::check(&host, config, &pool.prefixes, &own)?;
        firewall::check(&host, config, &pool.prefixes)?;
        if !own.is_empty() {
            firewall::ensure(&host, config, &pool.prefixes)?;
        }
        let mut taken = Taken::default();
        for device in own {
            note(&mut taken, &pool, &device.id, &device.name, &[]);
        }
        let (taken, table, kept) = (Mutex::new(taken), Mutex::default(), Mutex::default());
        Ok(Netns { config: config.clone(), pool, host, taken, table, kept })
    }

    pub(crate) fn pools(&self) -> &[IpNet] {
        &self.pool.prefixes
    }

    pub(crate) fn create(&self, id: &str) -> Result<Made, Error> {
        let path = place::path(id);
        if self.taken().has(id) || path.exists() {
            return Err(Error::Exists { id: id.to_owned(), what: path.display().to_string() });
        }
        let error = match self.make(id) {
            Ok(made) => return Ok(made),
            Err(error) => error,
        };
        // Somebody else's name is left alone.
        let undone = match error {
            Error::Exists { .. } => self.remove_devices(id).and_then(|()| self.free(id)),
            _ => self.destroy(id),
        };
        match undone {
            Ok(()) => Err(error),
            Err(second) => Err(Error::Half { first: Box::new(error), second: Box::new(second) }),
        }
    }

    pub(crate) fn start(&self, id: &str, made: &Made) -> Result<(), Error> {
        let refuse = |reason: String| Error::Device { id: id.to_owned(), reason };
        let name = made.attach.interface.as_deref().ok_or_else(|| refuse("no device is told of it".to_owned()))?;
        let device = links::own_named(&self.host, name)?.filter(|device| device.id == id);
        let device = device.ok_or_else(|| refuse(format!("{name} is not there, or is another's")))?;
        devices::switch_on(&self.host, &device.name)?;
        let inside = Namespace::find(&NetnsRef::Path(place::path(id)))?;
        links::wait(&self.host, &device.name, &inside)
    }

    /// The device goes last: it is what tells of the rest.
    pub(crate) fn destroy(&self, id: &str) -> Result<(), Error> {
        self.kept().remove(id);
        let killed = place::kill_processes(id, &self.host);
        place::remove_nameservers(id)?;
        place::take_name(id)?;
        self.remove_devices(id)?;
        self.free(id)?;
        killed
    }

    pub(crate) fn recall(&self, id: &str, made: &Made) {
        let list = match &made.addresses {
            document::Addresses::List(list) => list.as_slice(),
            document::Addresses::Any => &[],
        };
        let name = made.attach.interface.as_deref().unwrap_or_default();
        note(&mut self.taken(), &self.pool, id, name, list);
        self.kept().insert(id.to_owned());
    }

    /// Makes again what somebody has removed: the firewall's table, and files of sandboxes. Tells what it was.
    pub(crate) fn look(&self) -> Result<Vec<String>, Error> {
        let mut mended = Vec::new();
        if self.look_at_table()? {
            mended.push(
                "the firewall's table: addresses were not translated and connections not limited since".to_owned(),
            );
        }
        // Held meanwhile: who is taken away is taken from here first.
        for id in self.kept().iter().filter(|id| !place::has_nameservers(id)) {
            place::write_nameservers(id, &self.config.nameservers)?;
            mended.push(format!("the nameservers of {}", place::name(id)));
        }
        Ok(mended)
    }

    /// Whether the table had to be made again.
    fn look_at_table(&self) -> Result<bool, Error> {
        let mut seen = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if self.taken().sandboxes() == 0 {
            return Ok(false);
        }
        let ensure = || firewall::ensure(&self.host, &self.config, &self.pool.prefixes);
        let generation = generation::now(&self.host);
        let is_changed = match seen.as_mut() {
            Some(seen) if generation.is_some() && seen.generation == generation => return Ok(false),
            Some(seen) => firewall::shown(&self.host)? != seen.shown,
            None => false,
        };
        if is_changed || seen.is_none() {
            ensure()?;
        }
        *seen = Some(self.see()?);
        Ok(is_changed)
    }

    fn see(&self) -> Result<Seen, Error> {
        // Asked for before it is listed: what changes in between is seen the next time.
        let generation = generation::now(&self.host);
        Ok(Seen { generation, shown: firewall::shown(&self.host)? })
    }

    pub(crate) fn strays(&self, known: &BTreeSet<String>) -> Result<Vec<String>, Error> {
        let ids: BTreeSet<String> = links::own(&self.host)?.into_iter().map(|device| device.id).collect();
        Ok(ids.difference(known).cloned().collect())
    }

    fn make(&self, id: &str) -> Result<Made, Error> {
        let mtu = host::mtu(&self.host, &self.config.uplink)?;
        let (inside, number) = loop {
            let number = self.give(id)?;
            // Until something holds it, all that is in it ends with this process.
            let inside = Namespace::create(&format!("network namespace {}", place::name(id)))?;
            // Where somebody else has a device of this name, its number stays taken.
            if links::make(&inside, &self.host, &links::name(number), id, mtu)? {
                break (inside, number);
            }
        };
        let (name, addresses) = (links::name(number), self.pool.addresses(number));
        place::give_name(id, &inside)?;
        self.ensure_table()?;
        let vanished = || Error::Device { id: id.to_owned(), reason: format!("somebody has removed {name}") };
        let device = links::own_named(&self.host, &name)?.ok_or_else(vanished)?;
        links::dress_host(&self.host, &name, device.ifindex, &addresses)?;
        let mac = links::dress_inside(&inside, &addresses)?;
        place::write_nameservers(id, &self.config.nameservers)?;
        self.kept().insert(id.to_owned());
        Ok(made(name, &addresses, mac))
    }

    fn give(&self, id: &str) -> Result<u32, Error> {
        let mut taken = self.taken();
        taken.give(id, self.pool.size).ok_or_else(|| {
            let pool: Vec<String> = self.pool.prefixes.iter().map(ToString::to_string).collect();
            Error::PoolExhausted { pool: pool.join(", "), sandboxes: taken.sandboxes() }
        })
    }

    /// Removes what there is of a sandbox's numbers: the kernel may have removed the device already, with its namespace.
    fn remove_devices(&self, id: &str) -> Result<(), Error> {
        let mut numbers = self.taken().numbers(id);
        if numbers.is_empty() {
            let own = links::own(&self.host)?.into_iter().filter(|device| device.id == id);
            numbers = own.filter_map(|device| links::number(&device.name)).collect();
        }
        for number in numbers {
            let name = links::name(number);
            if links::own_named(&self.host, &name)?.is_some_and(|device| device.id == id) {
                links::remove(&self.host, &name)?;
            }
            if number < self.pool.size {
                self.forget_connections(&self.pool.addresses(number));
            }
        }
        Ok(())
    }

    /// They would count for the next with this number. A kernel without `ctnetlink` forgets them in its own time.
    fn forget_connections(&self, addresses: &Addresses) {
        let v4 = addresses.v4.map(|pair| IpAddr::V4(pair.sandbox));
        for source in v4.into_iter().chain(addresses.v6.map(|pair| IpAddr::V6(pair.sandbox))) {
            connections::forget(&self.host, source).ok();
        }
    }

    fn ensure_table(&self) -> Result<(), Error> {
        let mut seen = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        firewall::ensure(&self.host, &self.config, &self.pool.prefixes)?;
        // From now on, not from the next look on: what is removed in between is told.
        if seen.is_none() {
            *seen = Some(self.see()?);
        }
        Ok(())
    }

    /// Frees a sandbox's numbers, and removes the table when nobody has one: who makes a sandbox has a number before he makes the table.
    fn free(&self, id: &str) -> Result<(), Error> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self.taken();
        taken.free(id);
        let none = taken.sandboxes() == 0;
        drop(taken);
        if none {
            *table = None;
            return firewall::remove(&self.host);
        }
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes what a sandbox has, by the name of its device and by its addresses: the pool may have been another one when it was made.
fn note(taken: &mut Taken, pool: &Pool, id: &str, device: &str, addresses: &[String]) {
    let by_address = addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok());
    let numbers = by_address.filter_map(|address| pool.number(address)).chain(links::number(device));
    numbers.for_each(|number| taken.note(id, number));
}

fn made(device: String, addresses: &Addresses, mac: [u8; 6]) -> Made {
    let v4 = addresses.v4.map(|pair| pair.sandbox.to_string());
    let v6 = addresses.v6.map(|pair| pair.sandbox.to_string());
    Made {
        attach: Attach { interface: Some(device), ..Attach::default() },
        addresses: document::Addresses::List(v4.into_iter().chain(v6).collect()),
        mac: Some(mac.map(|byte| format!("{byte:02x}")).join(":")),
        gateway: Vec::new(),
        dhcp: false,
        inbound_from: Vec::new(),
        on_deny: OnDeny::default(),
    }
}
