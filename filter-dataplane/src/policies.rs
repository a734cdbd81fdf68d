//! The policies in the slots: the first page of each in `POLICIES`, the pages behind it in `PAGES`.
//!
//! The first page says in which of the slot's two places the others are. A new policy's are put into the place that the one in force does
//! not use, so the pointer to the first page switches to all of them at once.

use crate::outer::Outer;
use crate::pins::Pins;
use crate::pod::Pod;
use crate::{Error, fail_point, sys};
use aya::maps::{Array, IterableMap, MapData};
use filter_core::abi;
use filter_core::table::Page;
use filter_policy::Compiled;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// `BPF_F_INNER_MAP`: the arrays in one array of maps may differ in length. Since Linux 5.10.
const INNER_MAP: u32 = 1 << 12;

/// In which of two places a new slot has what it holds.
pub(crate) const FIRST: u32 = 0;

type Table = Array<MapData, Pod<Page>>;

/// A policy that is in the kernel, but in no slot yet.
pub(crate) struct Prepared {
    first: Table,
    /// The pages behind the first, and their place.
    rest: Option<(u32, Table)>,
    /// The place of those that nobody needs any more once this policy holds.
    replaces: Option<u32>,
}

impl Prepared {
    /// One for a slot that has none. It goes with the first attachment.
    pub(crate) fn new(compiled: &Compiled, slot: u32) -> Result<Prepared, Error> {
        Prepared::beside(compiled, slot, FIRST, FIRST)
    }

    /// One that goes with this one of the slot's attachments, and has its pages behind the first in this one of the slot's places.
    fn beside(compiled: &Compiled, slot: u32, attachment: u32, rest: u32) -> Result<Prepared, Error> {
        let mut page = compiled.pages.first().copied().unwrap_or(Page::EMPTY);
        page.set_places(attachment, rest);
        let mut first = Table::create(1, 0).map_err(Error::map("POLICIES"))?;
        first.set(0, Pod(page), 0).map_err(Error::map("POLICIES"))?;
        let rest = match compiled.pages.get(1..) {
            None | Some([]) => None,
            Some(pages) => {
                let room = u32::try_from(pages.len()).unwrap_or(u32::MAX);
                let table = Table::create(room, INNER_MAP).map_err(Error::map("PAGES"))?;
                sys::array_fill(table.map().fd(), pages, "PAGES")?;
                Some((abi::place(slot, rest), table))
            }
        };
        Ok(Prepared { first, rest, replaces: None })
    }

    fn rest(&self) -> Option<(u32, &Table)> {
        self.rest.as_ref().map(|(place, table)| (*place, table))
    }
}

/// Open handles to the maps of policies.
pub(crate) struct Policies {
    first: Outer<Table>,
    rest: Arc<Outer<Table>>,
    /// A table of nothing, in the place of what nobody uses any more.
    nothing: Arc<Table>,
    /// Lets go of the pages of policies that were replaced.
    clearing: Option<JoinHandle<()>>,
}

impl Policies {
    /// Opens the pinned maps.
    pub(crate) fn open(pins: &Pins) -> Result<Policies, Error> {
        Ok(Policies {
            first: Outer::open(pins, "POLICIES")?,
            rest: Arc::new(Outer::open(pins, "PAGES")?),
            nothing: Arc::new(Table::create(1, INNER_MAP).map_err(Error::map("PAGES"))?),
            clearing: None,
        })
    }

    /// The first page of the policy in a slot, if there is one.
    pub(crate) fn header(&self, slot: u32) -> Result<Option<Page>, Error> {
        let Some(policy) = self.first.get(slot)? else {
            return Ok(None);
        };
        Ok(Some(policy.get(&0, 0).map_err(Error::map("POLICIES"))?.0))
    }

    /// Whether anything of a slot's policy is there.
    pub(crate) fn is_occupied(&self, slot: u32) -> Result<bool, Error> {
        let rest = |which| self.rest.get(abi::place(slot, which));
        Ok(self.first.get(slot)?.is_some() || rest(FIRST)?.is_some() || rest(FIRST ^ 1)?.is_some())
    }

    /// One beside what a slot has, of which the header is the first page. It goes with this one of the slot's attachments.
    pub(crate) fn prepare(
        &self,
        compiled: &Compiled,
        slot: u32,
        header: &Page,
        attachment: u32,
    ) -> Result<Prepared, Error> {
        let before = abi::place(slot, header.rest());
        let replaces = self.rest.get(before)?.map(|_| before);
        Ok(Prepared { replaces, ..Prepared::beside(compiled, slot, attachment, header.rest() ^ 1)? })
    }

    /// Puts policies into slots that no device belongs to yet. Tells of each what came of it.
    pub(crate) fn fill(&self, slots: &[(u32, &Prepared)]) -> Vec<Result<(), Error>> {
        let filled = self.place(slots, |_| {});
        fail_point("attach.policy");
        filled
    }

    /// Puts the very policy of one slot into another, which no device belongs to.
    pub(crate) fn share(&self, from: u32, to: u32) -> Result<(), Error> {
        let first = self.first.get(from)?.ok_or(Error::Empty { slot: from })?;
        let which = first.get(&0, 0).map_err(Error::map("POLICIES"))?.0.rest();
        let rest = self.rest.get(abi::place(from, which))?.map(|rest| (abi::place(to, which), rest));
        let shared = Prepared { first, rest, replaces: None };
        self.place(&[(to, &shared)], |_| {}).into_iter().collect()
    }

    /// Switches each slot to its policy by one pointer. Effective at once; returns after a grace period, when no packet is judged by
    /// an older policy any more. Tells of each slot what came of it.
    pub(crate) fn switch(&mut self, changes: &[(u32, &Prepared)]) -> Vec<Result<(), Error>> {
        self.cleared();
        let mut replaced = Vec::new();
        let switched = self.place(changes, |prepared| replaced.extend(prepared.replaces));
        self.clear_later(replaced);
        switched
    }

    /// Stores the pages behind the first, then the first; tells which policies hold.
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
            let first = slots.iter().zip(&rest);
            let first = first.map(|((slot, prepared), rest)| placed(rest).then_some((*slot, &prepared.first)));
            let first: Vec<_> = first.collect();
            let stored = self.first.store_some(&first);
            let placing = placing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let outcomes = placing.into_iter().zip(stored).zip(slots.iter().zip(first));
            let outcome = outcomes.map(|((placed, stored), ((slot, prepared), first))| {
                placed?;
                stored?;
                first.ok_or(Error::Empty { slot: *slot })?;
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
