//! One loaded program per network namespace: an interface index means something only there.

use crate::living::Table;
use crate::pins::{Pins, create};
use crate::pod::Pod;
use crate::shared::SHARED;
use crate::{Device, Error, Namespace, fail_point, sys};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use aya::programs::links::{FdLink, LinkOrder, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use filter_core::abi::{self, LivingValue, SlotEntry};
use std::collections::BTreeSet;
use std::fs;
use std::io;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/filter.o"));

/// Names of the maps that belong to one namespace, as in the kernel program.
const OWN: [&str; 3] = ["SLOTS", "OVERFLOW", "LIVING"];

/// A hook on a sandbox's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// tc egress: packets towards the sandbox.
    ToSandbox,
    /// tc ingress: packets from the sandbox.
    FromSandbox,
}

impl Hook {
    /// All hooks, in the order in which they are attached: a sandbox whose packets are judged can be answered only by what is.
    pub(crate) const ALL: [Hook; 2] = [Hook::ToSandbox, Hook::FromSandbox];

    /// Name of the program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Hook::ToSandbox => "to_sandbox",
            Hook::FromSandbox => "from_sandbox",
        }
    }

    fn attach_type(self) -> TcAttachType {
        match self {
            Hook::ToSandbox => TcAttachType::Egress,
            Hook::FromSandbox => TcAttachType::Ingress,
        }
    }
}

/// Index of the loopback device in every namespace, which a test run takes when it is told no other. `explain` gives it a slot
/// for as long as it takes.
pub(crate) const LOOPBACK: u32 = 1;

/// The program and the maps of one network namespace.
pub(crate) struct Instance {
    ebpf: Ebpf,
    slots: Array<MapData, Pod<SlotEntry>>,
    overflow: HashMap<MapData, u32, Pod<SlotEntry>>,
    living: LpmTrie<MapData, [u8; 16], Pod<LivingValue>>,
    in_living: Table,
    assigned: BTreeSet<u32>,
}

impl Instance {
    /// Loads the program for a namespace, with the maps that are pinned for it or new ones.
    pub(crate) fn load(pins: &Pins, netns_inode: u64) -> Result<Instance, Error> {
        Instance::load_object(OBJECT, pins, netns_inode)
    }

    /// [`Self::load`] of the program that records.
    #[cfg(feature = "record")]
    pub(crate) fn load_recording(pins: &Pins, netns_inode: u64) -> Result<(Instance, crate::Records), Error> {
        let mut instance = Instance::load_object(crate::record::OBJECT, pins, netns_inode)?;
        let records = crate::Records::take(&mut instance.ebpf)?;
        Ok((instance, records))
    }

    fn load_object(object: &[u8], pins: &Pins, netns_inode: u64) -> Result<Instance, Error> {
        let own = pins.namespace(netns_inode);
        create(&own)?;
        let mut loader = EbpfLoader::new();
        for name in SHARED {
            loader.map_pin_path(name, pins.map(name));
        }
        for name in OWN {
            loader.map_pin_path(name, own.join(name));
        }
        let mut ebpf = loader.load(object)?;
        for hook in Hook::ALL {
            classifier(&mut ebpf, hook).load()?;
        }
        crate::log::follow(&mut ebpf);
        let living = take::<LpmTrie<MapData, [u8; 16], Pod<LivingValue>>>(&mut ebpf, "LIVING")?;
        let in_living = read_living(&living)?;
        let slots = take::<Array<MapData, Pod<SlotEntry>>>(&mut ebpf, "SLOTS")?;
        let overflow = take::<HashMap<MapData, u32, Pod<SlotEntry>>>(&mut ebpf, "OVERFLOW")?;
        let assigned = read_assigned(&slots, &overflow)?;
        let mut instance = Instance { slots, overflow, living, in_living, assigned, ebpf };
        // A daemon that died while it explained has left its shadow here.
        instance.release(LOOPBACK)?;
        Ok(instance)
    }

    /// The loaded program of a hook.
    pub(crate) fn program(&mut self, hook: Hook) -> &mut SchedClassifier {
        classifier(&mut self.ebpf, hook)
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

    /// Attaches all hooks to a device, each first in the order of its TCX programs, and pins the links.
    pub(crate) fn attach(&mut self, pins: &Pins, device: &Device, slot: u32) -> Result<(), Error> {
        Hook::ALL.into_iter().try_for_each(|hook| self.attach_hook(pins, device, slot, hook))
    }

    /// Attaches the hooks whose links are not pinned any more.
    pub(crate) fn mend(&mut self, pins: &Pins, device: &Device, slot: u32) -> Result<(), Error> {
        let missing = Hook::ALL.into_iter().filter(|hook| !pins.link(slot, *hook).exists());
        missing.into_iter().try_for_each(|hook| self.attach_hook(pins, device, slot, hook))
    }

    fn attach_hook(&mut self, pins: &Pins, device: &Device, slot: u32, hook: Hook) -> Result<(), Error> {
        let failed = |action| move |reason: String| Error::Link { device: device.name.clone(), action, reason };
        let namespace = Namespace::find_or_own(device.netns.as_ref())?;
        let program = self.program(hook);
        let attached = namespace.enter(|| {
            let options = TcAttachOptions::TcxOrder(LinkOrder::first());
            let id = program.attach_with_options(&device.name, hook.attach_type(), options)?;
            program.take_link(id)
        })?;
        let link = attached.map_err(|error| failed("attach to")(chain(&error)))?;
        fail_point(format_args!("attach.{}.attached", hook.program()));
        let link = FdLink::try_from(link).map_err(|error| failed("pin the link of")(chain(&error)))?;
        let path = pins.link(slot, hook);
        link.pin(&path).map_err(|error| failed("pin the link of")(chain(&error)))?;
        fail_point(format_args!("attach.{}.pinned", hook.program()));
        // The call looked the name up again: it must still mean the device that was checked.
        if sys::pinned_link_ifindex(&path)? != device.ifindex {
            detach(pins, slot)?;
            return Err(failed("attach to")("it was replaced by another device meanwhile".to_owned()));
        }
        Ok(())
    }

    /// Replaces the programs behind pinned links by this instance's, without a gap. Returns whether the links' device still
    /// exists.
    pub(crate) fn adopt(&mut self, pins: &Pins, slot: u32, ifindex: u32) -> Result<bool, Error> {
        for hook in Hook::ALL {
            if !self.adopt_hook(pins, slot, ifindex, hook)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn adopt_hook(&mut self, pins: &Pins, slot: u32, ifindex: u32, hook: Hook) -> Result<bool, Error> {
        let name = format!("{} of slot {slot}", hook.program());
        let failed = |reason: String| Error::Link { device: name.clone(), action: "adopt", reason };
        let path = pins.link(slot, hook);
        if sys::pinned_link_ifindex(&path)? != ifindex {
            return Ok(false);
        }
        let link = FdLink::from(PinnedLink::from_pin(&path).map_err(|error| failed(chain(&error)))?);
        let link = SchedClassifierLink::try_from(link).map_err(|error| failed(chain(&error)))?;
        let program = self.program(hook);
        let id = program.attach_to_link(link)?;
        // The handle is not needed: the pin holds the link.
        drop(program.take_link(id)?);
        fail_point(format_args!("adopt.{}.replaced", hook.program()));
        Ok(true)
    }

    /// Makes the namespace's table of living protected prefixes equal to `wanted`: additions first, so that no prefix is open
    /// meanwhile.
    pub(crate) fn set_living(&mut self, wanted: Table) -> Result<(), Error> {
        for ((address, bits), value) in &wanted {
            if self.in_living.get(&(*address, *bits)) != Some(value) {
                self.living.insert(&Key::new(*bits, address.0), Pod(*value), 0).map_err(Error::map("LIVING"))?;
            }
        }
        for (address, bits) in self.in_living.keys().filter(|key| !wanted.contains_key(key)) {
            self.living.remove(&Key::new(*bits, address.0)).map_err(Error::map("LIVING"))?;
        }
        self.in_living = wanted;
        Ok(())
    }
}

/// Takes away the pinned links: their device is not filtered any more.
pub(crate) fn detach(pins: &Pins, slot: u32) -> Result<(), Error> {
    for hook in Hook::ALL {
        let path = pins.link(slot, hook);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::file("remove", path)(error)),
            _ => fail_point(format_args!("detach.{}.unpinned", hook.program())),
        }
    }
    Ok(())
}

fn classifier(ebpf: &mut Ebpf, hook: Hook) -> &mut SchedClassifier {
    let program = ebpf.program_mut(hook.program()).expect("the object has the program");
    program.try_into().expect("the program is a classifier")
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
    for entry in slots.iter() {
        let ifindex = entry.map_err(Error::map("SLOTS"))?.0.ifindex;
        if ifindex != 0 {
            assigned.insert(ifindex);
        }
    }
    for ifindex in overflow.keys() {
        assigned.insert(ifindex.map_err(Error::map("OVERFLOW"))?);
    }
    Ok(assigned)
}

fn read_living(living: &LpmTrie<MapData, [u8; 16], Pod<LivingValue>>) -> Result<Table, Error> {
    let mut table = Table::new();
    for entry in living.iter() {
        let (key, value) = entry.map_err(Error::map("LIVING"))?;
        table.insert((filter_core::Address(key.data()), key.prefix_len()), value.0);
    }
    Ok(table)
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
