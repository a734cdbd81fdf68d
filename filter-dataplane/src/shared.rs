//! The maps that all instances of the program share: attachments, policies, counters, events.

use crate::living::Living;
use crate::outer::Outer;
use crate::pins::Pins;
use crate::pod::Pod;
use crate::{Counters, Error, fail_point, sys};
use aya::maps::{Array, FromMapData, HashMap, InnerMap, IterableMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use filter_core::abi::{self, FlowKey, FlowValue, Rows, SandboxConfig};
use filter_core::table::Page;
use filter_policy::Compiled;
use std::io;
use std::thread;

/// Names of the shared maps, as in the kernel program.
pub(crate) const SHARED: [&str; 8] =
    ["SANDBOXES", "POLICIES", "COUNTERS", "FLOWS", "PROTECTED", "PROTECTED_BLOCKS", "STRAYS", "EVENTS"];

/// `BPF_F_NO_PREALLOC`: a flow table takes memory as it fills.
const NO_PREALLOC: u32 = 1;
/// `BPF_F_INNER_MAP`: the arrays in one array of maps may differ in length. Since Linux 5.10.
const INNER_MAP: u32 = 1 << 12;

type Table = Array<MapData, Pod<Page>>;
type Config = Array<MapData, Pod<SandboxConfig>>;
type Counts = PerCpuArray<MapData, Pod<Rows>>;
type Flows = HashMap<MapData, Pod<FlowKey>, Pod<FlowValue>>;

/// A policy that is in the kernel, but in no slot yet.
pub(crate) struct Prepared(Table);

/// All that a slot holds, in the kernel, but in no slot yet.
pub(crate) struct Contents {
    config: Config,
    rows: Counts,
    flows: Flows,
    policy: Prepared,
}

/// What takes the place of a slot's policy, and perhaps of its attachment, in the kernel, but in no slot yet.
pub(crate) struct Change {
    policy: Prepared,
    /// The attachment that holds, and it together with the one that the policy brings.
    announced: Option<(SandboxConfig, Config)>,
}

impl Change {
    /// Whether the attachment changes as well.
    pub(crate) fn announces(&self) -> bool {
        self.announced.is_some()
    }
}

/// Open handles to the shared maps.
pub(crate) struct Shared {
    sandboxes: Outer<Config>,
    policies: Outer<Table>,
    counters: Outer<Counts>,
    flows: Outer<Flows>,
    strays: PerCpuArray<MapData, u64>,
    /// The protected prefixes of the daemon's namespace and of all sandboxes.
    pub(crate) protected: Living,
}

impl Shared {
    /// Opens the pinned maps.
    pub(crate) fn open(pins: &Pins) -> Result<Shared, Error> {
        Ok(Shared {
            sandboxes: Outer::open(pins, "SANDBOXES")?,
            policies: Outer::open(pins, "POLICIES")?,
            counters: Outer::open(pins, "COUNTERS")?,
            flows: Outer::open(pins, "FLOWS")?,
            strays: pinned(pins, "STRAYS", Map::PerCpuArray)?,
            protected: Living::open(
                "PROTECTED",
                pinned(pins, "PROTECTED", Map::LpmTrie)?,
                pinned(pins, "PROTECTED_BLOCKS", Map::Array)?,
            )?,
        })
    }

    /// The consumer's side of the event ring.
    pub(crate) fn events(pins: &Pins) -> Result<RingBuf<MapData>, Error> {
        pinned(pins, "EVENTS", Map::RingBuf)
    }

    /// Puts a policy's table beside whatever is in use.
    pub(crate) fn prepare(compiled: &Compiled) -> Result<Prepared, Error> {
        let room = u32::try_from(compiled.pages.len()).unwrap_or(u32::MAX).max(1);
        let table = Table::create(room, INNER_MAP).map_err(Error::map("POLICIES"))?;
        sys::array_fill(table.map().fd(), &compiled.pages, "POLICIES")?;
        Ok(Prepared(table))
    }

    /// What a new slot holds: counters at zero, an empty flow table with room for `quota` connections, the attachment and the
    /// policy.
    pub(crate) fn contents(config: &SandboxConfig, quota: u32, policy: &Compiled) -> Result<Contents, Error> {
        Ok(Contents {
            config: new_config(config)?,
            rows: Counts::create(1, 0).map_err(Error::map("COUNTERS"))?,
            flows: Flows::create(quota.max(1), NO_PREALLOC).map_err(Error::map("FLOWS"))?,
            policy: Shared::prepare(policy)?,
        })
    }

    /// Fills slots that no device belongs to yet; all wait for one grace period. Tells of each what came of it.
    pub(crate) fn fill(&mut self, slots: &[(u32, &Contents)]) -> Vec<Result<(), Error>> {
        let Shared { sandboxes, policies, counters, flows, .. } = self;
        let stored = together([
            Box::new(|| store("attach.counters", counters, slots, |contents| &contents.rows)),
            Box::new(|| store("attach.flows", flows, slots, |contents| &contents.flows)),
            Box::new(|| store("attach.config", sandboxes, slots, |contents| &contents.config)),
            Box::new(|| store("attach.policy", policies, slots, |contents| &contents.policy.0)),
        ]);
        let mut filled: Vec<Result<(), Error>> = slots.iter().map(|_| Ok(())).collect();
        for outcomes in stored {
            filled = filled.into_iter().zip(outcomes).map(|(before, one)| before.and(one)).collect();
        }
        filled
    }

    /// Fills the slot `to`, which no device belongs to, with an attachment, counters at zero and the very policy of `from`.
    pub(crate) fn shadow(&mut self, from: u32, to: u32, config: &SandboxConfig) -> Result<(), Error> {
        let Shared { sandboxes, policies, counters, .. } = self;
        let config = new_config(config)?;
        let rows = Counts::create(1, 0).map_err(Error::map("COUNTERS"))?;
        let policy = policies.get(from)?.ok_or(Error::Empty { slot: from })?;
        let set = together([
            Box::new(|| counters.set(to, &rows)),
            Box::new(|| sandboxes.set(to, &config)),
            Box::new(|| policies.set(to, &policy)),
        ]);
        set.into_iter().collect()
    }

    /// Makes what is to take the place of a slot's policy, and of its attachment where that is told and another one.
    pub(crate) fn change(&self, slot: u32, config: Option<&SandboxConfig>, policy: &Compiled) -> Result<Change, Error> {
        let announced = match config {
            None => None,
            Some(config) => match self.config(slot)?.ok_or(Error::Empty { slot })? {
                before if before == *config => None,
                before => Some((before, announcement(&before, config, policy.generation())?)),
            },
        };
        Ok(Change { policy: Shared::prepare(policy)?, announced })
    }

    /// Writes, beside the attachment of each slot, the one that takes its place when its policy comes. Tells of each what came of
    /// it.
    pub(crate) fn announce(&mut self, changes: &[(u32, &Change)]) -> Vec<Result<(), Error>> {
        let values = changes.iter().filter_map(|(slot, change)| Some((*slot, &change.announced.as_ref()?.1)));
        let values: Vec<_> = values.collect();
        let mut stored = self.sandboxes.store(&values).into_iter();
        let outcome = |(_, change): &(u32, &Change)| {
            if change.announces() { stored.next().expect("an outcome for each that was stored") } else { Ok(()) }
        };
        changes.iter().map(outcome).collect()
    }

    /// Takes back what was announced for a policy that did not come.
    pub(crate) fn take_back(&mut self, slot: u32, change: &Change) -> Result<(), Error> {
        change.announced.as_ref().map_or(Ok(()), |(before, _)| self.set_config(slot, before))
    }

    /// Switches each slot to its policy by one pointer. Effective at once; returns after a grace period, when no packet is judged by
    /// an older policy any more. Tells of each slot what came of it.
    pub(crate) fn switch(&mut self, changes: &[(u32, &Change)]) -> Vec<Result<(), Error>> {
        let policies: Vec<_> = changes.iter().map(|(slot, change)| (*slot, &change.policy.0)).collect();
        self.policies.store(&policies)
    }

    /// Writes a slot's attachment, by one pointer too.
    pub(crate) fn set_config(&mut self, slot: u32, config: &SandboxConfig) -> Result<(), Error> {
        self.sandboxes.set(slot, &new_config(config)?)
    }

    /// Takes away an attachment whose policy has not come.
    pub(crate) fn forget_announced(&mut self, slot: u32) -> Result<(), Error> {
        let Some(value) = self.sandboxes.get(slot)? else {
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
        let Some(value) = self.sandboxes.get(slot)? else {
            return Ok(None);
        };
        let [first, next] = [0, 1].map(|at| value.get(&at, 0).map_err(Error::map("SANDBOXES")));
        let (first, next) = (first?.0, next?.0);
        let holds = next.since != 0 && next.since <= self.generation(slot)?.unwrap_or(0);
        Ok(Some(if holds { SandboxConfig { since: 0, ..next } } else { first }))
    }

    /// The generation of the policy in a slot, if there is one.
    pub(crate) fn generation(&self, slot: u32) -> Result<Option<u32>, Error> {
        let Some(policy) = self.policies.get(slot)? else {
            return Ok(None);
        };
        let first = policy.get(&0, 0).map_err(Error::map("POLICIES"))?;
        Ok(Some(first.0.generation()))
    }

    /// Removes the flows of a slot that have been idle until `now`, nanoseconds of the monotonic clock; tells how many are left.
    pub(crate) fn sweep_flows(&mut self, slot: u32, now: u64) -> Result<usize, Error> {
        let Some(mut flows) = self.flows.get(slot)? else {
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
        let Some(rows) = self.counters.get(slot)? else {
            return Ok(None);
        };
        let of_cpus = rows.get(&0, 0).map_err(Error::map("COUNTERS"))?;
        let sum = |row: usize| of_cpus.iter().map(|Pod(rows)| rows.0[row]).sum();
        Ok(Some(Counters((0..abi::COUNTERS as usize).map(sum).collect())))
    }

    /// Packets on devices that belong to no sandbox.
    pub(crate) fn strays(&self) -> Result<u64, Error> {
        Ok(self.strays.get(&0, 0).map_err(Error::map("STRAYS"))?.iter().sum())
    }

    /// Whether a slot holds anything.
    pub(crate) fn is_occupied(&self, slot: u32) -> Result<bool, Error> {
        Ok(self.sandboxes.get(slot)?.is_some()
            || self.policies.get(slot)?.is_some()
            || self.counters.get(slot)?.is_some()
            || self.flows.get(slot)?.is_some())
    }

    /// Empties a slot. When this returns no packet uses what was in it.
    pub(crate) fn clear(pins: &Pins, slot: u32) -> Result<(), Error> {
        let cleared = together(["POLICIES", "COUNTERS", "FLOWS", "SANDBOXES"].map(|map| -> Call<'_, _> {
            Box::new(move || {
                let data = MapData::from_pin(pins.map(map)).map_err(Error::map(map))?;
                sys::map_delete(data.fd(), slot, map)?;
                fail_point(format_args!("detach.{map}.cleared"));
                Ok(())
            })
        }));
        cleared.into_iter().collect()
    }
}

/// System calls that wait for an RCU grace period.
type Call<'a, T> = Box<dyn FnOnce() -> T + Send + 'a>;

/// Makes calls at the same time, so that together they wait for about one grace period. All are made, also when one fails.
fn together<T: Send, const N: usize>(calls: [Call<'_, T>; N]) -> [T; N] {
    thread::scope(|scope| {
        let made = calls.map(|call| scope.spawn(call));
        made.map(|call| call.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Puts one part of what slots are to hold where it belongs.
fn store<V: FromMapData + InnerMap>(
    point: &str,
    outer: &mut Outer<V>,
    slots: &[(u32, &Contents)],
    part: impl Fn(&Contents) -> &V,
) -> Vec<Result<(), Error>> {
    let entries: Vec<_> = slots.iter().map(|(slot, contents)| (*slot, part(contents))).collect();
    let outcomes = outer.store(&entries);
    fail_point(point);
    outcomes
}

/// An attachment together with the one that takes its place when the policy of `generation` comes.
fn announcement(config: &SandboxConfig, next: &SandboxConfig, generation: u32) -> Result<Config, Error> {
    let mut value = new_config(config)?;
    value.set(1, Pod(SandboxConfig { since: generation, ..*next }), 0).map_err(Error::map("SANDBOXES"))?;
    Ok(value)
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
