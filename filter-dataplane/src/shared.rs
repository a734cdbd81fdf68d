//! The maps that all instances of the program share: attachments, policies, counters, events.

use crate::living::Living;
use crate::outer::Outer;
use crate::pins::Pins;
use crate::pod::Pod;
use crate::policies::{FIRST, Policies, Prepared};
use crate::{Counters, Error, fail_point, sys};
use aya::maps::{Array, FromMapData, HashMap, InnerMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use filter_core::abi::{self, FlowKey, FlowValue, Rows, SandboxConfig};
use filter_core::table::Page;
use filter_policy::Compiled;
use std::io;
use std::thread;

/// Names of the shared maps, as in the kernel program.
pub(crate) const SHARED: [&str; 9] =
    ["SANDBOXES", "POLICIES", "PAGES", "COUNTERS", "FLOWS", "PROTECTED", "PROTECTED_BLOCKS", "STRAYS", "EVENTS"];

/// `BPF_F_NO_PREALLOC`: a flow table takes memory as it fills.
const NO_PREALLOC: u32 = 1;
type Config = Array<MapData, Pod<SandboxConfig>>;
type Counts = PerCpuArray<MapData, Pod<Rows>>;
type Flows = HashMap<MapData, Pod<FlowKey>, Pod<FlowValue>>;

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
    /// The attachment that the policy brings, and its place.
    announced: Option<(u32, Config)>,
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
    policies: Policies,
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
            policies: Policies::open(pins)?,
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

    /// What a new slot holds: counters at zero, an empty flow table with room for `quota` connections, the attachment and the
    /// policy.
    pub(crate) fn contents(
        slot: u32,
        config: &SandboxConfig,
        quota: u32,
        policy: &Compiled,
    ) -> Result<Contents, Error> {
        Ok(Contents {
            config: new_config(config)?,
            rows: Counts::create(1, 0).map_err(Error::map("COUNTERS"))?,
            flows: Flows::create(quota.max(1), NO_PREALLOC).map_err(Error::map("FLOWS"))?,
            policy: Prepared::new(policy, slot)?,
        })
    }

    /// Fills slots that no device belongs to yet; all wait for one grace period. Tells of each what came of it.
    pub(crate) fn fill(&mut self, slots: &[(u32, &Contents)]) -> Vec<Result<(), Error>> {
        let Shared { sandboxes, policies, counters, flows, .. } = self;
        let prepared: Vec<_> = slots.iter().map(|(slot, contents)| (*slot, &contents.policy)).collect();
        let stored = together([
            Box::new(|| store("attach.counters", counters, slots, |slot| slot, |contents| &contents.rows)),
            Box::new(|| store("attach.flows", flows, slots, |slot| slot, |contents| &contents.flows)),
            Box::new(|| {
                store("attach.config", sandboxes, slots, |slot| abi::place(slot, FIRST), |contents| &contents.config)
            }),
            Box::new(|| policies.fill(&prepared)),
        ]);
        let mut filled: Vec<Result<(), Error>> = slots.iter().map(|_| Ok(())).collect();
        for outcomes in stored {
            filled = filled.into_iter().zip(outcomes).map(|(before, one)| before.and(one)).collect();
        }
        filled
    }

    /// Fills the slot `to`, which no device belongs to, with an attachment, counters at zero and the very policy of `from`.
    pub(crate) fn shadow(&mut self, from: u32, to: u32, config: &SandboxConfig) -> Result<(), Error> {
        let header = self.policies.header(from)?.ok_or(Error::Empty { slot: from })?;
        let Shared { sandboxes, policies, counters, .. } = self;
        let config = new_config(config)?;
        let rows = Counts::create(1, 0).map_err(Error::map("COUNTERS"))?;
        let set = together([
            Box::new(|| counters.set(to, &rows)),
            Box::new(|| sandboxes.set(abi::place(to, header.attachment()), &config)),
            Box::new(|| policies.share(from, to)),
        ]);
        set.into_iter().collect()
    }

    /// Makes what is to take the place of a slot's policy, and of its attachment where that is told and another one.
    pub(crate) fn change(&self, slot: u32, config: Option<&SandboxConfig>, policy: &Compiled) -> Result<Change, Error> {
        let header = self.policies.header(slot)?.unwrap_or(Page::EMPTY);
        let changed = match config {
            None => None,
            Some(config) => (self.config(slot)?.ok_or(Error::Empty { slot })? != *config).then_some(config),
        };
        let attachment = if changed.is_some() { header.attachment() ^ 1 } else { header.attachment() };
        let announced = match changed {
            None => None,
            Some(config) => Some((abi::place(slot, attachment), new_config(config)?)),
        };
        Ok(Change { policy: self.policies.prepare(policy, slot, &header, attachment)?, announced })
    }

    /// Writes, beside the attachment of each slot, the one that takes its place when its policy comes. Tells of each what came of
    /// it.
    pub(crate) fn announce(&mut self, changes: &[(u32, &Change)]) -> Vec<Result<(), Error>> {
        let announced = changes.iter().map(|(_, change)| change.announced.as_ref());
        let announced: Vec<_> = announced.map(|one| one.map(|(place, config)| (*place, config))).collect();
        self.sandboxes.store_some(&announced)
    }

    /// Switches each slot to its policy by one pointer. Effective at once; returns after a grace period, when no packet is judged by
    /// an older policy any more. Tells of each slot what came of it.
    pub(crate) fn switch(&mut self, changes: &[(u32, &Change)]) -> Vec<Result<(), Error>> {
        let policies: Vec<_> = changes.iter().map(|(slot, change)| (*slot, &change.policy)).collect();
        self.policies.switch(&policies)
    }

    /// Waits until nothing is left behind of what was switched from.
    pub(crate) fn cleared(&mut self) {
        self.policies.cleared();
    }

    /// Writes a slot's attachment, by one pointer too.
    pub(crate) fn set_config(&mut self, slot: u32, config: &SandboxConfig) -> Result<(), Error> {
        let which = self.policies.header(slot)?.map_or(FIRST, |header| header.attachment());
        self.sandboxes.set(abi::place(slot, which), &new_config(config)?)
    }

    /// The attachment in a slot that holds under the policy there, or where there is none, any.
    pub(crate) fn config(&self, slot: u32) -> Result<Option<SandboxConfig>, Error> {
        let places = self.policies.header(slot)?.map_or(vec![FIRST, FIRST ^ 1], |header| vec![header.attachment()]);
        for which in places {
            if let Some(value) = self.sandboxes.get(abi::place(slot, which))? {
                return Ok(Some(value.get(&0, 0).map_err(Error::map("SANDBOXES"))?.0));
            }
        }
        Ok(None)
    }

    /// The generation of the policy in a slot, if there is one.
    pub(crate) fn generation(&self, slot: u32) -> Result<Option<u32>, Error> {
        Ok(self.policies.header(slot)?.map(|header| header.generation()))
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
        Ok(self.sandboxes.get(abi::place(slot, FIRST))?.is_some()
            || self.sandboxes.get(abi::place(slot, FIRST ^ 1))?.is_some()
            || self.policies.is_occupied(slot)?
            || self.counters.get(slot)?.is_some()
            || self.flows.get(slot)?.is_some())
    }

    /// Empties a slot. When this returns no packet uses what was in it.
    pub(crate) fn clear(pins: &Pins, slot: u32) -> Result<(), Error> {
        let [first, second] = [FIRST, FIRST ^ 1].map(|which| abi::place(slot, which));
        let single = ["POLICIES", "COUNTERS", "FLOWS"].map(|map| (map, slot));
        let double = ["SANDBOXES", "PAGES"].map(|map| [(map, first), (map, second)]);
        let all = [single[0], single[1], single[2], double[0][0], double[0][1], double[1][0], double[1][1]];
        let cleared = together(all.map(|(map, at)| -> Call<'_, _> {
            Box::new(move || {
                let data = MapData::from_pin(pins.map(map)).map_err(Error::map(map))?;
                sys::map_delete(data.fd(), at, map)?;
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
    outer: &Outer<V>,
    slots: &[(u32, &Contents)],
    place: impl Fn(u32) -> u32,
    part: impl Fn(&Contents) -> &V,
) -> Vec<Result<(), Error>> {
    let entries: Vec<_> = slots.iter().map(|(slot, contents)| (place(*slot), part(contents))).collect();
    let outcomes = outer.store(&entries);
    fail_point(point);
    outcomes
}

fn new_config(config: &SandboxConfig) -> Result<Config, Error> {
    let mut value = Config::create(1, 0).map_err(Error::map("SANDBOXES"))?;
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
