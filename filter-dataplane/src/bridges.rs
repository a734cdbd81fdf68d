//! Bridges with sandboxes at their ports: what a port's program hands over is given to its socket by a program of the bridge device.

use crate::hook::{self, Hook, Spot};
use crate::{Attachment, Dataplane, Device, DeviceError, Error, Namespace, Place, explain, instance, netlink};
use filter_policy::NetnsRef;
use std::collections::{BTreeMap, BTreeSet};

/// Bridges by namespace and index.
pub(crate) type Bridges = BTreeMap<(u64, u32), Bridge>;

/// A bridge, and the slots that it serves.
pub(crate) struct Bridge {
    device: Device,
    slots: BTreeSet<u32>,
}

impl Dataplane {
    /// Lets the bridge with an index, in a namespace, serve a slot.
    pub(crate) fn serve_at_bridge(&mut self, slot: u32, netns: Option<&NetnsRef>, ifindex: u32) -> Result<(), Error> {
        let device = find(netns, ifindex)?;
        let key = (device.netns_inode, ifindex);
        self.hook_up_bridge(&device, !self.bridges.contains_key(&key))?;
        let bridge = self.bridges.entry(key).or_insert(Bridge { device, slots: BTreeSet::new() });
        bridge.slots.insert(slot);
        Ok(())
    }

    /// Ends what a bridge does for a slot. One that serves nobody has no program any more.
    pub(crate) fn leave_bridge(&mut self, slot: u32) -> Result<(), Error> {
        let mut left = false;
        self.bridges.retain(|_, bridge| {
            left |= bridge.slots.remove(&slot) && bridge.slots.is_empty();
            !bridge.slots.is_empty()
        });
        if left { self.sweep_bridges() } else { Ok(()) }
    }

    /// Takes the program off all bridges that serve nobody.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn sweep_bridges(&self) -> Result<(), Error> {
        for (netns_inode, ifindex) in self.pins.bridges()? {
            if !self.bridges.contains_key(&(netns_inode, ifindex)) {
                Spot { pins: &self.pins, place: place(netns_inode, ifindex), hook: Hook::FromBridge }.detach()?;
            }
        }
        Ok(())
    }

    /// Attaches again what somebody has removed from bridges that are still there; tells their names.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn mend_bridges(&mut self) -> Result<Vec<String>, Error> {
        let mut mended = Vec::new();
        let devices: Vec<Device> = self.bridges.values().map(|bridge| bridge.device.clone()).collect();
        for device in devices {
            if !self.is_whole(&device)? && find(device.netns.as_ref(), device.ifindex).is_ok() {
                tracing::error!(device = device.name, "somebody has removed a link of the filter from a bridge");
                self.hook_up_bridge(&device, false)?;
                mended.push(device.name);
            }
        }
        Ok(mended)
    }

    /// Makes sure that the program is there; one that an earlier daemon has attached is replaced.
    fn hook_up_bridge(&mut self, device: &Device, adopts: bool) -> Result<(), Error> {
        let place = place_of(device);
        let is_whole = self.is_whole(device)?;
        let spot = Spot { pins: &self.pins, place, hook: Hook::FromBridge };
        let program = instance(&mut self.instances, &self.pins, place.netns_inode)?.program(Hook::FromBridge);
        if is_whole {
            return if adopts { spot.adopt(program).map(drop) } else { Ok(()) };
        }
        spot.mend(spot.kind()?.unwrap_or(self.kind), program, device)
    }

    fn is_whole(&self, device: &Device) -> Result<bool, Error> {
        let spot = Spot { pins: &self.pins, place: place_of(device), hook: Hook::FromBridge };
        let ours = |hook| Some(self.instances.get(&device.netns_inode)?.program_id(hook));
        Ok(hook::attachment(&[spot], ours)? == Attachment::Whole)
    }
}

/// No slot is a bridge's.
fn place(netns_inode: u64, ifindex: u32) -> Place {
    Place { slot: explain::SHADOW, netns_inode, ifindex }
}

fn place_of(device: &Device) -> Place {
    place(device.netns_inode, device.ifindex)
}

fn find(netns: Option<&NetnsRef>, ifindex: u32) -> Result<Device, Error> {
    let namespace = Namespace::find_or_own(netns)?;
    let missing =
        || DeviceError::Missing { device: format!("index {ifindex}"), namespace: namespace.label().to_owned() };
    let link = netlink::link_at(&namespace, ifindex)?.ok_or_else(missing)?;
    Ok(Device {
        gateway_mac: link.mac.ok_or_else(missing)?,
        name: link.name,
        ifindex,
        netns: netns.cloned(),
        netns_inode: namespace.inode(),
        gateway: Vec::new(),
        bridge: None,
        up: link.up,
    })
}
