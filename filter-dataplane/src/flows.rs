//! Flow tables: a sandbox has one once somebody may open connections to it. Most sandboxes never need one, and it takes about
//! 3 kB of kernel memory.

use crate::outer::Outer;
use crate::pins::Pins;
use crate::pod::Pod;
use crate::{Dataplane, Error};
use aya::maps::{HashMap, MapData, MapError};
use filter_core::abi::{self, FlowKey, FlowValue, SandboxConfig};
use nix::time::{ClockId, clock_gettime};
use std::io;
use std::time::Duration;

/// `BPF_F_NO_PREALLOC`: a flow table takes memory as it fills.
const NO_PREALLOC: u32 = 1;

/// A sandbox's flow table.
pub(crate) type Flows = HashMap<MapData, Pod<FlowKey>, Pod<FlowValue>>;

/// Open handle to the flow tables of all sandboxes.
pub(crate) struct FlowTables {
    tables: Outer<Flows>,
    /// Connections that came in which a sandbox can have at a time.
    pub(crate) quota: u32,
}

impl FlowTables {
    /// Makes and pins the map, if there is none; returns whether there was none.
    pub(crate) fn make_array(pins: &Pins) -> Result<bool, Error> {
        let table = || Flows::create(abi::FLOWS, NO_PREALLOC).map_err(Error::map("FLOWS"));
        Outer::make(pins, "FLOWS", abi::MAX_SANDBOXES, table)
    }

    /// Opens the pinned map.
    pub(crate) fn open(pins: &Pins) -> Result<FlowTables, Error> {
        Ok(FlowTables { tables: Outer::open(pins, "FLOWS")?, quota: abi::FLOWS })
    }

    /// An empty table that is in no slot yet.
    pub(crate) fn make(&self) -> Result<Flows, Error> {
        Flows::create(self.quota.max(1), NO_PREALLOC).map_err(Error::map("FLOWS"))
    }

    /// Puts tables into slots; all wait for one grace period. Tells of each what came of it.
    pub(crate) fn store(&self, tables: &[(u32, &Flows)]) -> Vec<Result<(), Error>> {
        self.tables.store(tables)
    }

    /// Gives those slots a table that are to have one and have none; all wait for one grace period. Tells of each what came of it.
    pub(crate) fn provide(&self, slots: &[(u32, bool)]) -> Vec<Result<(), Error>> {
        let missing = |slot, needed| Ok(if needed && !self.is_there(slot)? { Some(self.make()?) } else { None });
        let made: Vec<Result<Option<Flows>, Error>> =
            slots.iter().map(|(slot, needed)| missing(*slot, *needed)).collect();
        let of_slots = slots.iter().zip(&made);
        let tables: Vec<_> =
            of_slots.filter_map(|((slot, _), made)| Some((*slot, made.as_ref().ok()?.as_ref()?))).collect();
        let mut stored = self.store(&tables).into_iter();
        let outcome = |made: Result<Option<Flows>, Error>| match made? {
            Some(_) => stored.next().expect("an outcome for each that was made"),
            None => Ok(()),
        };
        made.into_iter().map(outcome).collect()
    }

    /// The slots that have one.
    pub(crate) fn occupied(&self) -> Result<Vec<u32>, Error> {
        self.tables.occupied(abi::MAX_SANDBOXES)
    }

    /// Whether a slot has one.
    pub(crate) fn is_there(&self, slot: u32) -> Result<bool, Error> {
        Ok(self.tables.get(slot)?.is_some())
    }

    /// Removes the flows of a slot that have been idle until `now`, nanoseconds of the monotonic clock; tells how many are left.
    pub(crate) fn sweep(&self, slot: u32, now: u64) -> Result<usize, Error> {
        let Some(mut flows) = self.tables.get(slot)? else {
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
}

/// Whether an attachment lets somebody open connections.
pub(crate) fn is_open(config: &SandboxConfig) -> bool {
    config.inbound_count > 0
}

impl Dataplane {
    /// Flow tables that are made from now on have room for so many connections at a time; 64 when nothing is said.
    pub fn limit_flows(&mut self, quota: u32) {
        self.shared.flows.quota = quota;
    }

    /// Gives a sandbox a flow table if it has none. One whose attachment lets others open connections has one already; sockets with
    /// the filter's own mark need this before the first connection that they open: without a table there is no room for it.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn follow(&mut self, slot: u32) -> Result<(), Error> {
        self.shared.flows.provide(&[(slot, true)]).pop().expect("an outcome for each")
    }

    /// Removes a sandbox's flows that have been idle for too long; tells how many are left. A flow that is too old does not
    /// count even before that: this makes room.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn sweep_flows(&mut self, slot: u32) -> Result<usize, Error> {
        self.shared.flows.sweep(slot, monotonic_now())
    }
}

/// Nanoseconds of the clock that the kernel program reads.
pub(crate) fn monotonic_now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
