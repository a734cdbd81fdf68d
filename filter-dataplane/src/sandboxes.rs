//! What holds in the slots: attachment and beginning of the policy as one element of `SANDBOXES`, the other pages of the policy in `PAGES`.
//!
//! The element says in which of the slot's two places the other pages are. Those of a new policy are put into the place that the one in force
//! does not use, so the pointer to the element switches to all of it at once.

use crate::outer::Outer;
use crate::pins::Pins;
use crate::placed::{element, value};
use crate::pod::Pod;
use crate::{Error, fail_point, sys};
use aya::maps::{Array, IterableMap, MapData};
use filter_core::abi::{self, PlacedPage, PlacedSandbox, Sandbox, SandboxConfig};
use filter_policy::Compiled;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// `BPF_F_INNER_MAP`: the arrays in one array of maps may differ in length. Since Linux 5.10.
const INNER_MAP: u32 = 1 << 12;

/// In which of two places a new slot has its other pages.
const FIRST: u32 = 0;

type Whole = Array<MapData, Pod<PlacedSandbox>>;
type Table = Array<MapData, Pod<PlacedPage>>;

/// What a slot is to hold, in the kernel, but in no slot yet.
pub(crate) struct Prepared {
    whole: Whole,
    /// The other pages, and their place.
    rest: Option<(u32, Table)>,
    /// The place of those that nobody needs any more once this holds.
    replaces: Option<u32>,
}

impl Prepared {
    /// For a slot that has nothing.
    pub(crate) fn new(config: &SandboxConfig, compiled: &Compiled, slot: u32) -> Result<Prepared, Error> {
        Prepared::with_rest(config, compiled, slot, FIRST)
    }

    /// With the other pages in this one of the slot's places.
    fn with_rest(config: &SandboxConfig, compiled: &Compiled, slot: u32, rest: u32) -> Result<Prepared, Error> {
        let mut sandbox = Sandbox { config: *config, policy: compiled.first };
        sandbox.policy.set_rest(rest);
        let whole = whole(&sandbox)?;
        let pages: Vec<PlacedPage> = compiled.rest.iter().map(|page| element(page).0).collect();
        if pages.is_empty() {
            return Ok(Prepared { whole, rest: None, replaces: None });
        }
        let room = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        let table = Table::create(room, INNER_MAP).map_err(Error::map("PAGES"))?;
        sys::array_fill(table.map().fd(), &pages, "PAGES")?;
        Ok(Prepared { whole, rest: Some((abi::place(slot, rest), table)), replaces: None })
    }

    fn rest(&self) -> Option<(u32, &Table)> {
        self.rest.as_ref().map(|(place, table)| (*place, table))
    }
}

/// Open handles to the maps.
pub(crate) struct Sandboxes {
    whole: Outer<Whole>,
    rest: Arc<Outer<Table>>,
    /// A table of nothing, in the place of what nobody uses any more.
    nothing: Arc<Table>,
    /// Lets go of the pages of policies that were replaced.
    clearing: Option<JoinHandle<()>>,
}

impl Sandboxes {
    /// Opens the pinned maps.
    pub(crate) fn open(pins: &Pins) -> Result<Sandboxes, Error> {
        Ok(Sandboxes {
            whole: Outer::open(pins, "SANDBOXES")?,
            rest: Arc::new(Outer::open(pins, "PAGES")?),
            nothing: Arc::new(Table::create(1, INNER_MAP).map_err(Error::map("PAGES"))?),
            clearing: None,
        })
    }

    /// What is in a slot, but for the other pages of its policy.
    pub(crate) fn get(&self, slot: u32) -> Result<Option<Sandbox>, Error> {
        let Some(whole) = self.whole.get(slot)? else {
            return Ok(None);
        };
        Ok(Some(value(&whole.get(&0, 0).map_err(Error::map("SANDBOXES"))?)))
    }

    /// Whether a slot has anything.
    pub(crate) fn is_occupied(&self, slot: u32) -> Result<bool, Error> {
        let rest = |which| self.rest.get(abi::place(slot, which));
        Ok(self.whole.get(slot)?.is_some() || rest(FIRST)?.is_some() || rest(FIRST ^ 1)?.is_some())
    }

    /// What is to take the place of what a slot has; its attachment too, where that is told.
    pub(crate) fn prepare(
        &self,
        slot: u32,
        config: Option<&SandboxConfig>,
        compiled: &Compiled,
    ) -> Result<Prepared, Error> {
        let Sandbox { config: held, policy } = self.get(slot)?.ok_or(Error::Empty { slot })?;
        let before = abi::place(slot, policy.rest());
        let replaces = self.rest.get(before)?.map(|_| before);
        let prepared = Prepared::with_rest(config.unwrap_or(&held), compiled, slot, policy.rest() ^ 1)?;
        Ok(Prepared { replaces, ..prepared })
    }

    /// Fills slots that no device belongs to yet. Tells of each what came of it.
    pub(crate) fn fill(&self, slots: &[(u32, &Prepared)]) -> Vec<Result<(), Error>> {
        let filled = self.place(slots, |_| {});
        fail_point("attach.sandbox");
        filled
    }

    /// Puts another attachment with the very policy of one slot into another, which no device belongs to.
    pub(crate) fn share(&self, from: u32, to: u32, config: &SandboxConfig) -> Result<(), Error> {
        let Sandbox { policy, .. } = self.get(from)?.ok_or(Error::Empty { slot: from })?;
        let which = policy.rest();
        let rest = self.rest.get(abi::place(from, which))?.map(|rest| (abi::place(to, which), rest));
        let shared = Prepared { whole: whole(&Sandbox { config: *config, policy })?, rest, replaces: None };
        self.place(&[(to, &shared)], |_| {}).into_iter().collect()
    }

    /// Replaces a slot's attachment and leaves its policy.
    pub(crate) fn set_config(&mut self, slot: u32, config: &SandboxConfig) -> Result<(), Error> {
        let held = self.get(slot)?.ok_or(Error::Empty { slot })?;
        self.whole.set(slot, &whole(&Sandbox { config: *config, ..held })?)
    }

    /// Switches each slot to what is prepared for it by one pointer. Effective at once; returns after a grace period, when no packet
    /// is judged by what was there before. Tells of each slot what came of it.
    pub(crate) fn switch(&mut self, changes: &[(u32, &Prepared)]) -> Vec<Result<(), Error>> {
        self.cleared();
        let mut replaced = Vec::new();
        let switched = self.place(changes, |prepared| replaced.extend(prepared.replaces));
        self.clear_later(replaced);
        switched
    }

    /// Stores the other pages, then what says where they are; tells what holds.
    fn place(&self, slots: &[(u32, &Prepared)], mut holds: impl FnMut(&Prepared)) -> Vec<Result<(), Error>> {
        let rest: Vec<_> = slots.iter().map(|(_, prepared)| prepared.rest()).collect();
        let placed = |rest: &Option<(u32, &Table)>| rest.is_none_or(|(place, table)| self.rest.holds(place, table));
        thread::scope(|scope| {
            let placing = scope.spawn(|| self.rest.store_some(&rest));
            // They are there at once; what takes time is a grace period, which nobody needs to wait for before the next.
            while !placing.is_finished() && !rest.iter().all(placed) {
                thread::yield_now();
            }
            if rest.iter().any(Option::is_some) {
                fail_point("switch.placed");
            }
            let whole = slots.iter().zip(&rest);
            let whole = whole.map(|((slot, prepared), rest)| placed(rest).then_some((*slot, &prepared.whole)));
            let whole: Vec<_> = whole.collect();
            let stored = self.whole.store_some(&whole);
            let placing = placing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let outcomes = placing.into_iter().zip(stored).zip(slots.iter().zip(whole));
            let outcome = outcomes.map(|((placed, stored), ((slot, prepared), whole))| {
                placed?;
                stored?;
                whole.ok_or(Error::Empty { slot: *slot })?;
                holds(prepared);
                Ok(())
            });
            outcome.collect()
        })
    }

    /// Lets go of pages that no packet needs any more, in a thread of its own: that takes another grace period.
    fn clear_later(&mut self, places: Vec<u32>) {
        if places.is_empty() {
            return;
        }
        let (rest, nothing) = (self.rest.clone(), self.nothing.clone());
        self.clearing = Some(thread::spawn(move || {
            let entries: Vec<_> = places.iter().map(|place| (*place, &*nothing)).collect();
            for error in rest.store(&entries).into_iter().filter_map(Result::err) {
                tracing::warn!(%error, "cannot let go of a policy that was replaced");
            }
        }));
    }

    /// Waits until nothing is being let go of: its place may be needed again.
    pub(crate) fn cleared(&mut self) {
        if let Some(clearing) = self.clearing.take()
            && clearing.join().is_err()
        {
            tracing::error!("letting go of policies that were replaced has failed");
        }
    }
}

/// A map of what a packet is judged by.
fn whole(sandbox: &Sandbox) -> Result<Whole, Error> {
    let mut whole = Whole::create(1, 0).map_err(Error::map("SANDBOXES"))?;
    whole.set(0, element(sandbox), 0).map_err(Error::map("SANDBOXES"))?;
    Ok(whole)
}
