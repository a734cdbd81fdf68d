//! The maps that all instances of the program share: attachments, policies, counters, events.

use crate::living::Living;
use crate::pins::Pins;
use crate::pod::Pod;
use crate::{Counters, Error, fail_point, sys};
use aya::maps::{Array, ArrayOfMaps, HashMap, IterableMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use filter_core::abi::{self, FlowKey, FlowValue, SandboxConfig};
use filter_core::table::{HEADER, Node};
use filter_policy::Compiled;
use std::io;
use std::thread;

/// Names of the shared maps, as in the kernel program.
pub(crate) const SHARED: [&str; 7] = ["SANDBOXES", "POLICIES", "COUNTERS", "FLOWS", "PROTECTED", "STRAYS", "EVENTS"];

/// `BPF_F_NO_PREALLOC`: a flow table takes memory as it fills.
const NO_PREALLOC: u32 = 1;
/// `BPF_F_INNER_MAP`: the arrays in one array of maps may differ in length. Since Linux 5.10.
const INNER_MAP: u32 = 1 << 12;

type Table = Array<MapData, Pod<Node>>;
type Config = Array<MapData, Pod<SandboxConfig>>;
type Rows = PerCpuArray<MapData, u64>;
type Flows = HashMap<MapData, Pod<FlowKey>, Pod<FlowValue>>;

/// A policy that is in the kernel, but in no slot yet.
pub(crate) struct Prepared(Table);

/// Open handles to the shared maps.
pub(crate) struct Shared {
    sandboxes: ArrayOfMaps<MapData, Config>,
    policies: ArrayOfMaps<MapData, Table>,
    counters: ArrayOfMaps<MapData, Rows>,
    flows: ArrayOfMaps<MapData, Flows>,
    strays: Rows,
    /// The protected prefixes of the daemon's namespace and of all sandboxes.
    pub(crate) protected: Living,
}

impl Shared {
    /// Opens the pinned maps.
    pub(crate) fn open(pins: &Pins) -> Result<Shared, Error> {
        Ok(Shared {
            sandboxes: pinned(pins, "SANDBOXES", Map::ArrayOfMaps)?,
            policies: pinned(pins, "POLICIES", Map::ArrayOfMaps)?,
            counters: pinned(pins, "COUNTERS", Map::ArrayOfMaps)?,
            flows: pinned(pins, "FLOWS", Map::ArrayOfMaps)?,
            strays: pinned(pins, "STRAYS", Map::PerCpuArray)?,
            protected: Living::open("PROTECTED", pinned(pins, "PROTECTED", Map::LpmTrie)?)?,
        })
    }

    /// The consumer's side of the event ring.
    pub(crate) fn events(pins: &Pins) -> Result<RingBuf<MapData>, Error> {
        pinned(pins, "EVENTS", Map::RingBuf)
    }

    /// Puts a policy's table beside whatever is in use.
    pub(crate) fn prepare(compiled: &Compiled) -> Result<Prepared, Error> {
        let room = u32::try_from(compiled.nodes.len()).unwrap_or(u32::MAX).max(1);
        let table = Table::create(room, INNER_MAP).map_err(Error::map("POLICIES"))?;
        sys::array_fill(table.map().fd(), &compiled.nodes, "POLICIES")?;
        Ok(Prepared(table))
    }

    /// Fills a slot that no device belongs to yet: counters at zero, an empty flow table with room for `quota` connections, the
    /// attachment and the policy.
    pub(crate) fn fill(
        &mut self,
        slot: u32,
        config: &SandboxConfig,
        quota: u32,
        policy: &Prepared,
    ) -> Result<(), Error> {
        let Shared { sandboxes, policies, counters, flows, .. } = self;
        let config = new_config(config)?;
        let rows = Rows::create(abi::COUNTERS, 0).map_err(Error::map("COUNTERS"))?;
        let table = Flows::create(quota.max(1), NO_PREALLOC).map_err(Error::map("FLOWS"))?;
        let set = |point, result: Result<(), MapError>, map| {
            result.map_err(Error::map(map))?;
            fail_point(point);
            Ok(())
        };
        together([
            Box::new(|| set("attach.counters", counters.set(slot, &rows, 0), "COUNTERS")),
            Box::new(|| set("attach.flows", flows.set(slot, &table, 0), "FLOWS")),
            Box::new(|| set("attach.config", sandboxes.set(slot, &config, 0), "SANDBOXES")),
            Box::new(|| set("attach.policy", policies.set(slot, &policy.0, 0), "POLICIES")),
        ])
    }

    /// Fills the slot `to`, which no device belongs to, with an attachment, counters at zero and the very policy of `from`.
    pub(crate) fn shadow(&mut self, from: u32, to: u32, config: &SandboxConfig) -> Result<(), Error> {
        let Shared { sandboxes, policies, counters, .. } = self;
        let config = new_config(config)?;
        let rows = Rows::create(abi::COUNTERS, 0).map_err(Error::map("COUNTERS"))?;
        let policy = policies.get(&from, 0).map_err(Error::map("POLICIES"))?;
        together([
            Box::new(|| counters.set(to, &rows, 0).map_err(Error::map("COUNTERS"))),
            Box::new(|| sandboxes.set(to, &config, 0).map_err(Error::map("SANDBOXES"))),
            Box::new(|| policies.set(to, &policy, 0).map_err(Error::map("POLICIES"))),
        ])
    }

    /// Switches a slot to a policy by one pointer. Effective at once; returns after a grace period, when no packet is judged by
    /// an older policy any more.
    pub(crate) fn switch(&mut self, slot: u32, policy: &Prepared) -> Result<(), Error> {
        self.policies.set(slot, &policy.0, 0).map_err(Error::map("POLICIES"))
    }

    /// Writes a slot's attachment, by one pointer too.
    pub(crate) fn set_config(&mut self, slot: u32, config: &SandboxConfig) -> Result<(), Error> {
        self.sandboxes.set(slot, &new_config(config)?, 0).map_err(Error::map("SANDBOXES"))
    }

    /// Writes a slot's attachment together with the one that takes its place when the policy of `generation` comes.
    pub(crate) fn announce(
        &mut self,
        slot: u32,
        config: &SandboxConfig,
        next: &SandboxConfig,
        generation: u32,
    ) -> Result<(), Error> {
        let mut value = new_config(config)?;
        value.set(1, Pod(SandboxConfig { since: generation, ..*next }), 0).map_err(Error::map("SANDBOXES"))?;
        self.sandboxes.set(slot, &value, 0).map_err(Error::map("SANDBOXES"))
    }

    /// Takes away an attachment whose policy has not come.
    pub(crate) fn forget_announced(&mut self, slot: u32) -> Result<(), Error> {
        let Some(value) = found(self.sandboxes.get(&slot, 0)).map_err(Error::map("SANDBOXES"))? else {
            return Ok(());
        };
        let next = value.get(&1, 0).map_err(Error::map("SANDBOXES"))?.0;
        match self.config(slot)? {
            Some(config) if next.since > self.generation(slot)?.unwrap_or(0) => self.set_config(slot, &config),
            _ => Ok(()),
        }
    }

    /// The attachment in a slot that holds under the policy there, if there is one.
    pub(crate) fn config(&self, slot: u32) -> Result<Option<SandboxConfig>, Error> {
        let Some(value) = found(self.sandboxes.get(&slot, 0)).map_err(Error::map("SANDBOXES"))? else {
            return Ok(None);
        };
        let [first, next] = [0, 1].map(|at| value.get(&at, 0).map_err(Error::map("SANDBOXES")));
        let (first, next) = (first?.0, next?.0);
        let holds = next.since != 0 && next.since <= self.generation(slot)?.unwrap_or(0);
        Ok(Some(if holds { SandboxConfig { since: 0, ..next } } else { first }))
    }

    /// The generation of the policy in a slot, if there is one.
    pub(crate) fn generation(&self, slot: u32) -> Result<Option<u32>, Error> {
        let Some(policy) = found(self.policies.get(&slot, 0)).map_err(Error::map("POLICIES"))? else {
            return Ok(None);
        };
        let header = policy.get(&HEADER, 0).map_err(Error::map("POLICIES"))?;
        Ok(Some(header.0.keys[0]))
    }

    /// Removes the flows of a slot that have been idle until `now`, nanoseconds of the monotonic clock; tells how many are left.
    pub(crate) fn sweep_flows(&mut self, slot: u32, now: u64) -> Result<usize, Error> {
        let Some(mut flows) = found(self.flows.get(&slot, 0)).map_err(Error::map("FLOWS"))? else {
            return Ok(0);
        };
        let all: Vec<_> = flows.iter().collect::<Result<_, _>>().map_err(Error::map("FLOWS"))?;
        let expired: Vec<_> = all.iter().filter(|(_, value)| value.0.expires <= now).map(|(key, _)| *key).collect();
        for key in &expired {
            // A packet may have ended it meanwhile.
            match flows.remove(key) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(MapError::SyscallError(refusal)) if refusal.io_error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::map("FLOWS")(error)),
            }
        }
        Ok(all.len() - expired.len())
    }

    /// A slot's counters, summed over the CPUs; `None` when the slot has none.
    pub(crate) fn counters(&self, slot: u32) -> Result<Option<Counters>, Error> {
        let Some(rows) = found(self.counters.get(&slot, 0)).map_err(Error::map("COUNTERS"))? else {
            return Ok(None);
        };
        let mut sums = Vec::with_capacity(abi::COUNTERS as usize);
        for row in rows.iter() {
            sums.push(row.map_err(Error::map("COUNTERS"))?.iter().sum());
        }
        Ok(Some(Counters(sums)))
    }

    /// Packets on devices that belong to no sandbox.
    pub(crate) fn strays(&self) -> Result<u64, Error> {
        Ok(self.strays.get(&0, 0).map_err(Error::map("STRAYS"))?.iter().sum())
    }

    /// Whether a slot holds anything.
    pub(crate) fn is_occupied(&self, slot: u32) -> Result<bool, Error> {
        Ok(found(self.sandboxes.get(&slot, 0)).map_err(Error::map("SANDBOXES"))?.is_some()
            || found(self.policies.get(&slot, 0)).map_err(Error::map("POLICIES"))?.is_some()
            || found(self.counters.get(&slot, 0)).map_err(Error::map("COUNTERS"))?.is_some()
            || found(self.flows.get(&slot, 0)).map_err(Error::map("FLOWS"))?.is_some())
    }

    /// Empties a slot. When this returns no packet uses what was in it.
    pub(crate) fn clear(pins: &Pins, slot: u32) -> Result<(), Error> {
        together(["POLICIES", "COUNTERS", "FLOWS", "SANDBOXES"].map(|map| -> Call<'_> {
            Box::new(move || {
                let data = MapData::from_pin(pins.map(map)).map_err(Error::map(map))?;
                sys::map_delete(data.fd(), slot, map)?;
                fail_point(format_args!("detach.{map}.cleared"));
                Ok(())
            })
        }))
    }
}

/// A system call that waits for an RCU grace period.
type Call<'a> = Box<dyn FnOnce() -> Result<(), Error> + Send + 'a>;

/// Makes calls at the same time, so that together they wait for about one grace period. All are made, also when one fails; the
/// first failure is told.
fn together<const N: usize>(calls: [Call<'_>; N]) -> Result<(), Error> {
    thread::scope(|scope| {
        let made = calls.map(|call| scope.spawn(call));
        let results = made.map(|call| call.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        results.into_iter().collect()
    })
}

fn new_config(config: &SandboxConfig) -> Result<Config, Error> {
    let mut value = Config::create(2, 0).map_err(Error::map("SANDBOXES"))?;
    value.set(0, Pod(*config), 0).map_err(Error::map("SANDBOXES"))?;
    Ok(value)
}

fn pinned<T>(pins: &Pins, name: &'static str, kind: fn(MapData) -> Map) -> Result<T, Error>
where
    T: TryFrom<Map, Error = MapError>,
{
    let data = MapData::from_pin(pins.map(name)).map_err(Error::map(name))?;
    T::try_from(kind(data)).map_err(Error::map(name))
}

fn found<T>(result: Result<T, MapError>) -> Result<Option<T>, MapError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
