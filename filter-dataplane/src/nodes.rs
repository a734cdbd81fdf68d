//! The other nodes of all policies: one array, in maps of one length that come and go with the need.
//!
//! A policy's nodes lie in a row. They are written where nobody has any, and a packet finds them only by the beginning of the policy, which
//! is stored after that. So nobody may have them again before a grace period has passed since another beginning took its place. Who has
//! which is in the beginnings, and nowhere else.

use crate::extents::{Extent, Free};
use crate::outer::Outer;
use crate::pins::Pins;
use crate::pod::Pod;
use crate::{Error, fail_point, sys};
use aya::maps::{Array, IterableMap, MapData};
use filter_core::abi::{CHUNK_NODES, CHUNKS};
use filter_core::table::Node;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// `BPF_F_MMAPABLE`: the elements begin with a page of memory. Since Linux 5.5.
const MMAPABLE: u32 = 1 << 10;

/// Maps without any policy's nodes that are kept for the next while there are others: 36 KiB each.
const SPARE: usize = 16;

/// The whole array.
const ALL: Extent = Extent { base: 0, nodes: CHUNKS * CHUNK_NODES };

type Chunk = Array<MapData, Pod<Node>>;

/// The array.
pub(crate) struct Nodes {
    chunks: Arc<Outer<Chunk>>,
    free: Free,
    /// Maps that are there, and those of them that no policy has nodes in.
    there: BTreeSet<u32>,
    spare: BTreeSet<u32>,
    /// Maps that are being stored: that is effective long before the kernel's call returns.
    storing: Option<JoinHandle<Result<(), Error>>>,
    removing: Option<JoinHandle<()>>,
}

impl Nodes {
    /// Makes and pins the array, if there is none; returns whether there was none.
    pub(crate) fn make_array(pins: &Pins) -> Result<bool, Error> {
        Outer::make(pins, "NODES", CHUNKS, chunk)
    }

    /// Opens the pinned array, of which these beginnings have nodes.
    pub(crate) fn open(pins: &Pins, used: impl Iterator<Item = Extent>) -> Result<Nodes, Error> {
        let mut nodes = Nodes {
            chunks: Arc::new(Outer::open(pins, "NODES")?),
            free: Free::new(ALL.nodes),
            there: BTreeSet::new(),
            spare: BTreeSet::new(),
            storing: None,
            removing: None,
        };
        for extent in used {
            if !nodes.free.claim(extent) {
                return Err(Error::Unsupported {
                    missing: format!("two policies have nodes {} to {}", extent.base, extent.base + extent.nodes),
                    hint: "purge the pin directory; sandboxes must be applied again then".to_owned(),
                });
            }
            nodes.there.extend(chunks_of(extent));
        }
        // The lowest places are taken first.
        let places = (0..CHUNKS).map_while(|place| nodes.chunks.get(place).transpose().map(|map| Ok((place, map?))));
        let places: Vec<(u32, Chunk)> = places.collect::<Result<_, Error>>()?;
        // Stored anew for the grace period: until it is over, nodes that the daemon before has just given up may be in use.
        let again: Vec<_> = places.iter().take(1).map(|(place, map)| (*place, map)).collect();
        nodes.chunks.store(&again).into_iter().collect::<Result<(), _>>()?;
        nodes.remove(places.iter().map(|(place, _)| *place).filter(|place| !nodes.there.contains(place)).collect());
        Ok(nodes)
    }

    /// Puts a policy's nodes where nobody has any; `None` when there are none.
    pub(crate) fn put(&mut self, nodes: &[Node]) -> Result<Option<Extent>, Error> {
        let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        if count == 0 {
            return Ok(None);
        }
        let extent = self.free.take(count).ok_or(Error::NoNodes)?;
        match self.write(extent, nodes) {
            Ok(()) => Ok(Some(extent)),
            Err(error) => {
                self.give_up(extent);
                Err(error)
            }
        }
    }

    fn write(&mut self, extent: Extent, nodes: &[Node]) -> Result<(), Error> {
        let chunks = chunks_of(extent);
        self.add(chunks.clone().filter(|chunk| !self.there.contains(chunk)).collect())?;
        let mut rest = nodes;
        for chunk in chunks {
            self.spare.remove(&chunk);
            let first = extent.base.saturating_sub(chunk * CHUNK_NODES);
            let (here, behind) = rest.split_at(rest.len().min((CHUNK_NODES - first) as usize));
            let map = self.chunks.get(chunk)?.ok_or(Error::Empty { slot: chunk })?;
            sys::array_fill(map.map().fd(), first, here, "NODES")?;
            rest = behind;
        }
        fail_point("switch.placed");
        Ok(())
    }

    /// Lets others have nodes that no packet uses any more.
    pub(crate) fn give_up(&mut self, extent: Extent) {
        let around = self.free.give(extent);
        let whole = |chunk: &u32| around.has(&Extent { base: chunk * CHUNK_NODES, nodes: CHUNK_NODES });
        self.spare.extend(chunks_of(extent).filter(|chunk| self.there.contains(chunk)).filter(whole));
        let kept = if around == ALL { 0 } else { SPARE };
        let mut gone = Vec::new();
        while self.spare.len() > kept
            && let Some(chunk) = self.spare.pop_last()
        {
            self.there.remove(&chunk);
            gone.push(chunk);
        }
        self.remove(gone);
    }

    /// Makes maps; they are there when this returns.
    fn add(&mut self, places: Vec<u32>) -> Result<(), Error> {
        if places.is_empty() {
            return Ok(());
        }
        // What took a map from one of the places is to be over.
        self.settle()?;
        let made = places.iter().map(|place| Ok((*place, chunk()?))).collect::<Result<Vec<_>, Error>>()?;
        let made = Arc::new(made);
        let (chunks, storing) = (self.chunks.clone(), made.clone());
        let storing = thread::spawn(move || {
            let maps: Vec<_> = storing.iter().map(|(place, map)| (*place, map)).collect();
            chunks.store(&maps).into_iter().collect()
        });
        let are_there = || made.iter().all(|(place, map)| self.chunks.holds(*place, map));
        while !are_there() && !storing.is_finished() {
            thread::yield_now();
        }
        let stored = are_there();
        self.storing = Some(storing);
        if !stored {
            self.settle()?;
        }
        self.there.extend(&places);
        self.spare.extend(&places);
        Ok(())
    }

    /// Removes maps, in a thread of its own.
    fn remove(&mut self, places: Vec<u32>) {
        if places.is_empty() {
            return;
        }
        let (chunks, before) = (self.chunks.clone(), self.removing.take());
        self.removing = Some(thread::spawn(move || {
            before.into_iter().for_each(join);
            for error in chunks.clear(&places).into_iter().filter_map(Result::err) {
                tracing::warn!(%error, "a map of nodes that nobody needs was not removed");
            }
        }));
    }

    /// Waits until no map is being stored or removed.
    fn settle(&mut self) -> Result<(), Error> {
        self.removing.take().into_iter().for_each(join);
        self.storing.take().map_or(Ok(()), join)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if let Err(error) = self.settle() {
            tracing::warn!(%error, "a map of nodes was not stored");
        }
    }
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// An empty map.
fn chunk() -> Result<Chunk, Error> {
    Chunk::create(CHUNK_NODES, MMAPABLE).map_err(Error::map("NODES"))
}

/// The maps that nodes are in.
fn chunks_of(extent: Extent) -> std::ops::RangeInclusive<u32> {
    extent.base / CHUNK_NODES..=(extent.base + extent.nodes - 1) / CHUNK_NODES
}
