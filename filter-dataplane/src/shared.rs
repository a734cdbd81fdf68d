//! The maps that all instances of the program share: attachments and policies, counters, flows, events.

use crate::flows::{FlowTables, Flows, is_open};
use crate::living::Living;
use crate::outer::Outer;
use crate::pins::Pins;
use crate::pod::Pod;
use crate::sandboxes::{Prepared, Sandboxes};
use crate::{Counters, Error, fail_point, listeners, sys};
use aya::maps::{Array, Map, MapData, MapError, PerCpuArray, RingBuf};
use filter_core::abi::{self, Rows, Sandbox, SandboxConfig};
use filter_policy::Compiled;
use std::collections::BTreeSet;
use std::thread;

/// Names of the shared maps, as in the kernel program.
pub(crate) const SHARED: [&str; 15] = [
    "SANDBOXES",
    "NODES",
    "COUNTERS",
    "FLOWS",
    "CGROUPS",
    "SOCKETS",
    "CONNECTIONS",
    "CONNECTIONS_LOST",
    "LISTENERS",
    "NEIGHBOURS",
    "TIME_WAIT",
    "PROTECTED",
    "PROTECTED_BLOCKS",
    "STRAYS",
    "EVENTS",
];

type Counts = PerCpuArray<MapData, Pod<Rows>>;

/// All that a slot holds, in the kernel, but in no slot yet.
pub(crate) struct Contents {
    rows: Counts,
    flows: Option<Flows>,
    sandbox: Prepared,
}

/// Open handles to the shared maps.
pub(crate) struct Shared {
    sandboxes: Sandboxes,
    counters: Outer<Counts>,
    pub(crate) flows: FlowTables,
    strays: PerCpuArray<MapData, u64>,
    /// MAC addresses, each in one word.
    neighbours: Array<MapData, u64>,
    /// The protected prefixes of the daemon's namespace and of all sandboxes.
    pub(crate) protected: Living,
}

impl Shared {
    /// Makes the arrays of maps that are not pinned yet; returns whether none was. The program is loaded with them.
    pub(crate) fn make_arrays(pins: &Pins) -> Result<bool, Error> {
        let counts = || Counts::create(1, 0).map_err(Error::map("COUNTERS"));
        let made = [
            Sandboxes::make_arrays(pins)?,
            Outer::make(pins, "COUNTERS", abi::MAX_SANDBOXES, counts)?,
            FlowTables::make_array(pins)?,
        ];
        Ok(made == [true; 3])
    }

    /// Opens the pinned maps, in which there is nothing when they are new.
    pub(crate) fn open(pins: &Pins, are_new: bool) -> Result<Shared, Error> {
        Ok(Shared {
            sandboxes: Sandboxes::open(pins, are_new)?,
            counters: Outer::open(pins, "COUNTERS")?,
            flows: FlowTables::open(pins)?,
            strays: pinned(pins, "STRAYS", Map::PerCpuArray)?,
            neighbours: pinned(pins, "NEIGHBOURS", Map::Array)?,
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

    /// What a new slot holds: counters at zero, the attachment and the policy, and an empty flow table where it needs one.
    pub(crate) fn contents(&mut self, config: &SandboxConfig, policy: &Compiled) -> Result<Contents, Error> {
        Ok(Contents {
            rows: Counts::create(1, 0).map_err(Error::map("COUNTERS"))?,
            flows: is_open(config).then(|| self.flows.make()).transpose()?,
            sandbox: self.sandboxes.make(config, policy)?,
        })
    }

    /// Fills slots that no device belongs to yet; all wait for one grace period. Tells of each what came of it.
    pub(crate) fn fill(&mut self, slots: &[(u32, &Contents)]) -> Vec<Result<(), Error>> {
        let Shared { sandboxes, counters, flows, .. } = self;
        let prepared: Vec<_> = slots.iter().map(|(slot, contents)| (*slot, &contents.sandbox)).collect();
        let stored = together([
            Box::new(|| {
                let stored = store(slots, |contents| Some(&contents.rows), |entries| counters.store(entries));
                fail_point("attach.counters");
                stored
            }),
            Box::new(|| {
                let stored = store(slots, |contents| contents.flows.as_ref(), |entries| flows.store(entries));
                fail_point("attach.flows");
                stored
            }),
            Box::new(|| sandboxes.fill(&prepared)),
        ]);
        let mut filled: Vec<Result<(), Error>> = slots.iter().map(|_| Ok(())).collect();
        for outcomes in stored {
            filled = filled.into_iter().zip(outcomes).map(|(before, one)| before.and(one)).collect();
        }
        filled
    }

    /// Fills the slot `to`, which no device belongs to, with an attachment, counters at zero and the very policy of `from`.
    pub(crate) fn shadow(&mut self, from: u32, to: u32, config: &SandboxConfig) -> Result<(), Error> {
        let Shared { sandboxes, counters, .. } = self;
        let rows = Counts::create(1, 0).map_err(Error::map("COUNTERS"))?;
        let set = together([Box::new(|| counters.set(to, &rows)), Box::new(|| sandboxes.share(from, to, config))]);
        set.into_iter().collect()
    }

    /// Makes what is to take the place of a slot's policy, and of its attachment where that is told.
    pub(crate) fn prepare(
        &mut self,
        slot: u32,
        config: Option<&SandboxConfig>,
        policy: &Compiled,
    ) -> Result<Prepared, Error> {
        self.sandboxes.prepare(slot, config, policy)
    }

    /// Switches each slot to what is prepared for it by one pointer. Effective at once; returns after a grace period, when no packet
    /// is judged by what was there before. Tells of each slot what came of it.
    pub(crate) fn switch(&mut self, changes: &[(u32, &Prepared)]) -> Vec<Result<(), Error>> {
        self.sandboxes.switch(changes)
    }

    /// Ends changes that were switched to.
    pub(crate) fn retire(&mut self, switched: impl Iterator<Item = Prepared>) {
        self.sandboxes.retire(switched);
    }

    /// Gives up what earlier changes have replaced.
    pub(crate) fn tidy(&mut self) {
        self.sandboxes.tidy();
    }

    /// Replaces a slot's attachment, by one pointer too.
    pub(crate) fn set_config(&mut self, slot: u32, config: &SandboxConfig) -> Result<(), Error> {
        self.sandboxes.set_config(slot, config)
    }

    /// What is in a slot.
    pub(crate) fn sandbox(&self, slot: u32) -> Result<Option<Sandbox>, Error> {
        self.sandboxes.get(slot)
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

    /// Whether a slot holds an attachment, its counters, and a flow table where it needs one.
    pub(crate) fn is_full(&self, slot: u32) -> Result<bool, Error> {
        let Some(held) = self.sandboxes.get(slot)? else { return Ok(false) };
        let is_followed = !is_open(&held.config) || self.flows.is_there(slot)?;
        Ok(is_followed && self.counters.get(slot)?.is_some())
    }

    /// The slots that hold anything.
    pub(crate) fn occupied(&self) -> Result<BTreeSet<u32>, Error> {
        let each = [self.sandboxes.occupied()?, self.counters.occupied(abi::MAX_SANDBOXES)?, self.flows.occupied()?];
        Ok(each.into_iter().flatten().collect())
    }

    /// Empties a slot. When this returns no packet uses what was in it.
    pub(crate) fn clear(&mut self, pins: &Pins, slot: u32) -> Result<(), Error> {
        listeners::clear(pins, slot)?;
        let held = self.sandboxes.get(slot)?;
        let cleared = together(["SANDBOXES", "COUNTERS", "FLOWS"].map(|map| -> Call<'_, Result<(), Error>> {
            Box::new(move || {
                let data = MapData::from_pin(pins.map(map)).map_err(Error::map(map))?;
                sys::map_delete(data.fd(), slot, map)?;
                fail_point(format_args!("detach.{map}.cleared"));
                Ok(())
            })
        }));
        cleared.into_iter().collect::<Result<(), _>>()?;
        self.neighbours.set(slot, 0, 0).map_err(Error::map("NEIGHBOURS"))?;
        held.iter().for_each(|held| self.sandboxes.give_up(held));
        Ok(())
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

/// Puts one part of what slots are to hold where it belongs. Tells of each slot what came of it; who has no such part lacks nothing.
fn store<V>(
    slots: &[(u32, &Contents)],
    part: impl Fn(&Contents) -> Option<&V>,
    store: impl FnOnce(&[(u32, &V)]) -> Vec<Result<(), Error>>,
) -> Vec<Result<(), Error>> {
    let parts: Vec<_> = slots.iter().filter_map(|(slot, contents)| Some((*slot, part(contents)?))).collect();
    let mut stored = store(&parts).into_iter();
    let mut outcome = |contents| part(contents).map_or(Ok(()), |_| stored.next().expect("an outcome for each part"));
    slots.iter().map(|(_, contents)| outcome(contents)).collect()
}

pub(crate) fn pinned<T>(pins: &Pins, name: &'static str, kind: fn(MapData) -> Map) -> Result<T, Error>
where
    T: TryFrom<Map, Error = MapError>,
{
    let data = MapData::from_pin(pins.map(name)).map_err(Error::map(name))?;
    T::try_from(kind(data)).map_err(Error::map(name))
}
