//! An array of maps, in which each slot has an inner map of its own.

use crate::pins::Pins;
use crate::{Error, sys};
use aya::maps::{ArrayOfMaps, FromMapData, InnerMap, Map, MapData, MapError};
use std::os::fd::AsFd;
use std::thread;

/// An open array of maps.
pub(crate) struct Outer<V> {
    name: &'static str,
    maps: ArrayOfMaps<MapData, V>,
    /// The same map: the handle above does not give its descriptor.
    data: MapData,
}

impl<V: FromMapData + InnerMap> Outer<V> {
    /// Makes and pins one with so many slots for maps like `inner`, unless one is pinned. What loads the program would make it for maps with the
    /// types of the program's, and before Linux 6.2 such an array takes none without: aya makes these. Returns whether it was made.
    pub(crate) fn make(
        pins: &Pins,
        name: &'static str,
        slots: u32,
        inner: impl FnOnce() -> Result<V, Error>,
    ) -> Result<bool, Error> {
        let path = pins.map(name);
        if path.exists() {
            return Ok(false);
        }
        let made = sys::maps_create(name, slots, inner()?.fd().as_fd())?;
        sys::pin(made.as_fd(), &path).map_err(Error::file("pin", &path))?;
        Ok(true)
    }

    /// Opens the one that is pinned.
    pub(crate) fn open(pins: &Pins, name: &'static str) -> Result<Outer<V>, Error> {
        let pinned = || MapData::from_pin(pins.map(name)).map_err(Error::map(name));
        let maps = Map::ArrayOfMaps(pinned()?).try_into().map_err(Error::map(name))?;
        Ok(Outer { name, maps, data: pinned()? })
    }

    /// What is in a slot.
    pub(crate) fn get(&self, slot: u32) -> Result<Option<V>, Error> {
        match self.maps.get(&slot, 0) {
            Ok(map) => Ok(Some(map)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(Error::map(self.name)(error)),
        }
    }

    /// What `read` makes of the maps in the first slots, many at a time: before Linux 6.8 each look waits for a grace period.
    pub(crate) fn read_all<T: Send>(
        &self,
        slots: u32,
        read: impl Fn(&V) -> Result<T, Error> + Sync,
    ) -> Result<Vec<Option<T>>, Error>
    where
        V: Sync,
    {
        const TOGETHER: u32 = 64;
        let some = |from: u32| -> Result<Vec<Option<T>>, Error> {
            let end = slots.min(from + slots.div_ceil(TOGETHER));
            (from..end).map(|slot| self.get(slot)?.as_ref().map(&read).transpose()).collect()
        };
        thread::scope(|scope| {
            let begins = (0..slots).step_by(slots.div_ceil(TOGETHER).max(1) as usize);
            let reading: Vec<_> = begins
                .map(|from| {
                    scope.spawn({
                        let some = &some;
                        move || some(from)
                    })
                })
                .collect();
            let mut all = Vec::with_capacity(slots as usize);
            for one in reading {
                all.extend(one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok(all)
        })
    }

    /// Which of the first slots have a map.
    pub(crate) fn occupied(&self, slots: u32) -> Result<Vec<u32>, Error>
    where
        V: Sync,
    {
        let maps = self.read_all(slots, |_| Ok(()))?;
        Ok((0..).zip(maps).filter_map(|(slot, map)| map.map(|()| slot)).collect())
    }

    /// Puts a map into a slot, by one pointer. Effective at once; returns after a grace period, when no packet uses what was there
    /// before.
    pub(crate) fn set(&mut self, slot: u32, map: &V) -> Result<(), Error> {
        self.maps.set(slot, map, 0).map_err(Error::map(self.name))
    }

    /// [`Self::set`] for several slots, which wait for one grace period together. Tells of each what came of it: one that the kernel
    /// refuses keeps nobody else from being stored.
    pub(crate) fn store(&self, entries: &[(u32, &V)]) -> Vec<Result<(), Error>> {
        let mut outcomes = Vec::with_capacity(entries.len());
        while let rest @ [_, ..] = &entries[outcomes.len()..] {
            let raw: Vec<_> = rest.iter().map(|(slot, map)| (*slot, map.fd())).collect();
            let Err(error) = sys::maps_store(self.data.fd(), &raw, self.name) else {
                outcomes.extend(rest.iter().map(|_| Ok(())));
                break;
            };
            // Kernels differ in what they tell of a batch that failed: what is in the slots is asked.
            let stored = rest.iter().take_while(|(slot, map)| self.holds(*slot, map)).count();
            outcomes.extend(rest[..stored].iter().map(|_| Ok(())));
            if stored < rest.len() {
                outcomes.push(Err(error));
            }
        }
        outcomes
    }

    /// Empties slots, many at a time: each call waits for a grace period.
    pub(crate) fn clear(&self, slots: &[u32]) -> Vec<Result<(), Error>> {
        const TOGETHER: usize = 16;
        let (fd, name) = (self.data.fd().as_fd(), self.name);
        let clear = |slots: &[u32]| -> Vec<_> { slots.iter().map(|slot| sys::map_delete(fd, *slot, name)).collect() };
        thread::scope(|scope| {
            let each = slots.len().div_ceil(TOGETHER).max(1);
            let clearing: Vec<_> = slots.chunks(each).map(|some| scope.spawn(move || clear(some))).collect();
            let cleared =
                clearing.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            cleared.flatten().collect()
        })
    }

    /// Whether this map is in a slot.
    pub(crate) fn holds(&self, slot: u32, map: &V) -> bool {
        let (there, wanted) = (sys::inner_map_id(self.data.fd(), slot), sys::map_id(map.fd()));
        there.ok().zip(wanted.ok()).is_some_and(|(there, wanted)| there == wanted)
    }
}
