//! One loaded program per network namespace: an interface index means something only there.

use crate::hook::{self, Hook, Spot, State};
use crate::kept::Kept;
use crate::kernel_types::{self, KernelTypes};
use crate::living::Living;
use crate::pins::{Pins, create};
use crate::pod::Pod;
use crate::shared::SHARED;
use crate::{Device, Error, HookKind, Place, programs, return_memory, sys};
use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{Array, HashMap, IterableMap, Map, MapData, MapError};
use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader};
use filter_core::abi::{self, SlotEntry};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/filter.o"));

/// Names of the maps that belong to one namespace, as in the kernel program.
const OWN: [&str; 4] = ["SLOTS", "OVERFLOW", "LIVING", "LIVING_BLOCKS"];

/// Index of the loopback device in every namespace, which a test run takes when it is told no other. `explain` gives it a slot
/// for as long as it takes.
pub(crate) const LOOPBACK: u32 = 1;

/// The program and the maps of one network namespace.
pub(crate) struct Instance {
    /// In the order of [`Hook::EVERYWHERE`].
    programs: [SchedClassifier; 3],
    /// Their ids, in the same order.
    ids: [u32; 3],
    slots: Array<MapData, Pod<SlotEntry>>,
    overflow: HashMap<MapData, u32, Pod<SlotEntry>>,
    living: Living,
    assigned: BTreeSet<u32>,
    /// The pins of its maps.
    pub(crate) kept: Kept,
}

impl Instance {
    /// Loads the program for a namespace, with the maps that are pinned for it or new ones.
    pub(crate) fn load(pins: &Pins, netns_inode: u64) -> Result<Instance, Error> {
        let instance = Instance::load_object(OBJECT, pins, netns_inode)?.0;
        return_memory();
        Ok(instance)
    }

    /// [`Self::load`] of the program that records.
    #[cfg(feature = "record")]
    pub(crate) fn load_recording(pins: &Pins, netns_inode: u64) -> Result<(Instance, crate::Records), Error> {
        let (instance, mut ebpf) = Instance::load_object(crate::record::OBJECT, pins, netns_inode)?;
        let records = crate::Records::take(&mut ebpf)?;
        Ok((instance, records))
    }

    /// Also returns what the program was loaded from, which takes megabytes and is not needed any more.
    pub(crate) fn load_object(object: &[u8], pins: &Pins, netns_inode: u64) -> Result<(Instance, Ebpf), Error> {
        let own = pins.namespace(netns_inode);
        create(&own)?;
        let with_types = KernelTypes::of_this_kernel().map(|types| {
            let loaded = load(&kernel_types::resolve(object, Some(&types)), pins, &own);
            loaded.inspect_err(|error| tracing::warn!(%error, "the program does without the kernel's types"))
        });
        let mut ebpf = match with_types {
            Some(Ok(loaded)) => loaded,
            _ => load(&kernel_types::resolve(object, None), pins, &own)?,
        };
        crate::log::follow(&mut ebpf);
        let blocks = take::<Array<MapData, u64>>(&mut ebpf, "LIVING_BLOCKS")?;
        let living = Living::open("LIVING", take::<LpmTrie<_, _, _>>(&mut ebpf, "LIVING")?, blocks)?;
        let slots = take::<Array<MapData, Pod<SlotEntry>>>(&mut ebpf, "SLOTS")?;
        let overflow = take::<HashMap<MapData, u32, Pod<SlotEntry>>>(&mut ebpf, "OVERFLOW")?;
        let assigned = read_assigned(&slots, &overflow)?;
        let [a, b, c] = Hook::EVERYWHERE.map(|hook| loaded(&mut ebpf, hook));
        let [(a, a_id), (b, b_id), (c, c_id)] = [a?, b?, c?];
        let (programs, ids) = ([a, b, c], [a_id, b_id, c_id]);
        let kept = Kept::find(OWN.map(|name| own.join(name)))?;
        let mut instance = Instance { programs, ids, slots, overflow, living, assigned, kept };
        // A daemon that died while it explained has left its shadow here.
        instance.release(LOOPBACK)?;
        Ok((instance, ebpf))
    }

    /// The loaded program of a hook.
    pub(crate) fn program(&mut self, hook: Hook) -> &mut SchedClassifier {
        &mut self.programs[place(hook)]
    }

    /// The id of the loaded program of a hook.
    pub(crate) fn program_id(&self, hook: Hook) -> u32 {
        self.ids[place(hook)]
    }

    /// Makes packets of a device belong to a slot.
    pub(crate) fn assign(&mut self, ifindex: u32, slot: u32) -> Result<(), Error> {
        self.assigned.insert(ifindex);
        let entry = SlotEntry { ifindex, slot };
        let at = ifindex & (abi::SLOTS - 1);
        let there = self.slots.get(&at, 0).map_err(Error::map("SLOTS"))?.0;
        if there.ifindex == 0 || there.ifindex == ifindex {
            return self.slots.set(at, Pod(entry), 0).map_err(Error::map("SLOTS"));
        }
        self.overflow.insert(ifindex, Pod(entry), 0).map_err(Error::map("OVERFLOW"))
    }

    /// Makes packets of a device belong to nobody.
    pub(crate) fn release(&mut self, ifindex: u32) -> Result<(), Error> {
        self.assigned.remove(&ifindex);
        let at = ifindex & (abi::SLOTS - 1);
        let there = self.slots.get(&at, 0).map_err(Error::map("SLOTS"))?.0;
        if there.ifindex == ifindex {
            return self.slots.set(at, Pod(SlotEntry::default()), 0).map_err(Error::map("SLOTS"));
        }
        match self.overflow.remove(&ifindex) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(refusal)) if refusal.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::map("OVERFLOW")(error)),
        }
    }

    /// Whether no device belongs to a slot.
    pub(crate) fn is_idle(&self) -> bool {
        self.assigned.is_empty()
    }

    /// Attaches all hooks to a device, each first in order, and pins what keeps or finds them.
    pub(crate) fn attach(&mut self, pins: &Pins, device: &Device, place: Place, kind: HookKind) -> Result<(), Error> {
        Hook::ALL.into_iter().try_for_each(|hook| {
            let program = self.program(hook);
            Spot { pins, place, hook }.attach(kind, program, device)
        })
    }

    /// Attaches the hooks that are not there any more, as the others are attached; `kind` is for when nothing tells.
    pub(crate) fn mend(&mut self, pins: &Pins, device: &Device, place: Place, kind: HookKind) -> Result<(), Error> {
        let spots = Hook::ALL.map(|hook| Spot { pins, place, hook });
        let kinds = spots.iter().map(Spot::kind).collect::<Result<Vec<_>, _>>()?;
        let kind = kinds.into_iter().flatten().next().unwrap_or(kind);
        let states = hook::states(&spots, |hook| Some(self.program_id(hook)))?;
        for (spot, state) in spots.iter().zip(states) {
            if state != State::Whole {
                spot.mend(kind, self.program(spot.hook), device)?;
            }
        }
        Ok(())
    }

    /// Puts this instance's programs in the place of those that are attached, without a gap. Returns whether the device still
    /// exists.
    pub(crate) fn adopt(&mut self, pins: &Pins, place: Place) -> Result<bool, Error> {
        for hook in Hook::ALL {
            let program = self.program(hook);
            if !(Spot { pins, place, hook }).adopt(program)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The namespace's table of living protected prefixes.
    pub(crate) fn living(&mut self) -> &mut Living {
        &mut self.living
    }
}

fn place(hook: Hook) -> usize {
    Hook::EVERYWHERE.iter().position(|one| *one == hook).expect("all hooks are there")
}

/// Loads the programs, and the maps that are pinned or new ones.
fn load(object: &[u8], pins: &Pins, own: &Path) -> Result<Ebpf, Error> {
    let mut ebpf = loader(pins, own).load(object)?;
    programs::load(&mut ebpf, &Hook::EVERYWHERE.map(Hook::program))?;
    Ok(ebpf)
}

/// What loads an object with the maps that are pinned, or new ones.
fn loader(pins: &Pins, own: &Path) -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    for name in SHARED {
        loader.map_pin_path(name, pins.map(name));
    }
    for name in OWN {
        loader.map_pin_path(name, own.join(name));
    }
    loader
}

/// The object with its programs, loaded with the maps of a namespace, that belong to no device; none of them is in the kernel yet.
pub(crate) fn load_apart(pins: &Pins, netns_inode: u64) -> Result<Ebpf, Error> {
    let types = KernelTypes::of_this_kernel();
    Ok(loader(pins, &pins.namespace(netns_inode)).load(&kernel_types::resolve(OBJECT, types.as_ref()))?)
}

/// Takes the programs off a device, which is not filtered any more.
pub(crate) fn detach(pins: &Pins, place: Place) -> Result<(), Error> {
    Hook::ALL.into_iter().try_for_each(|hook| Spot { pins, place, hook }.detach())
}

/// The device that belongs to a slot in a namespace, by the maps that are pinned for it.
pub(crate) fn ifindex_of(pins: &Pins, netns_inode: u64, slot: u32) -> Result<Option<u32>, Error> {
    let pinned = |name| MapData::from_pin(pins.namespace(netns_inode).join(name)).map_err(Error::map(name));
    let slots = Array::<_, Pod<SlotEntry>>::try_from(Map::Array(pinned("SLOTS")?)).map_err(Error::map("SLOTS"))?;
    let entries: Vec<SlotEntry> = sys::array_read(slots.map().fd(), abi::SLOTS, "SLOTS")?;
    if let Some(entry) = entries.iter().find(|entry| entry.ifindex != 0 && entry.slot == slot) {
        return Ok(Some(entry.ifindex));
    }
    let overflow = HashMap::<_, u32, Pod<SlotEntry>>::try_from(Map::HashMap(pinned("OVERFLOW")?));
    for entry in overflow.map_err(Error::map("OVERFLOW"))?.iter() {
        let (ifindex, entry) = entry.map_err(Error::map("OVERFLOW"))?;
        if entry.0.slot == slot {
            return Ok(Some(ifindex));
        }
    }
    Ok(None)
}

fn classifier(ebpf: &mut Ebpf, hook: Hook) -> &mut SchedClassifier {
    let program = ebpf.program_mut(hook.program()).expect("the object has the program");
    program.try_into().expect("the program is a classifier")
}

/// A handle to a loaded program that does not keep what it was loaded from, and the id of the program.
fn loaded(ebpf: &mut Ebpf, hook: Hook) -> Result<(SchedClassifier, u32), Error> {
    let info = classifier(ebpf, hook).info()?;
    let id = info.id();
    Ok((SchedClassifier::from_program_info(info, hook.program().into())?, id))
}

pub(crate) fn take<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, Error> {
    let map = ebpf.take_map(name).expect("the object has the map");
    T::try_from(map).map_err(Error::map(name))
}

fn read_assigned(
    slots: &Array<MapData, Pod<SlotEntry>>,
    overflow: &HashMap<MapData, u32, Pod<SlotEntry>>,
) -> Result<BTreeSet<u32>, Error> {
    let mut assigned = BTreeSet::new();
    let entries: Vec<SlotEntry> = sys::array_read(slots.map().fd(), abi::SLOTS, "SLOTS")?;
    assigned.extend(entries.iter().map(|entry| entry.ifindex).filter(|ifindex| *ifindex != 0));
    for ifindex in overflow.keys() {
        assigned.insert(ifindex.map_err(Error::map("OVERFLOW"))?);
    }
    Ok(assigned)
}
