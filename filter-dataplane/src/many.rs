//! Attaching and updating. What is stored by one system call waits for one grace period: many sandboxes at once cost hardly more
//! of it than one.
//!
//! Everything is made before anything changes: a flow table that is not needed yet changes nothing. Then each sandbox has an outcome of its own: either the whole change holds, or
//! nothing of it.

use crate::flows::is_open;
use crate::sandboxes::Prepared;
use crate::shared::Contents;
use crate::{CgroupPath, Dataplane, Device, Error, Place, fail_point};
use filter_core::abi::SandboxConfig;
use filter_policy::Compiled;
use std::path::Path;

/// Sandboxes that are attached together, at most: each has up to three maps open meanwhile.
const ATTACHED_AT_ONCE: usize = 64;
/// Sandboxes that are updated together, at most: each has one map open meanwhile.
const UPDATED_AT_ONCE: usize = 256;

/// A sandbox that is to be attached.
#[derive(Clone, Copy, Debug)]
pub struct ToAttach<'a> {
    /// Where; nobody is there yet.
    pub place: Place,
    /// The device at that place.
    pub device: &'a Device,
    /// What is fixed about the attachment.
    pub config: &'a SandboxConfig,
    /// Its policy.
    pub policy: &'a Compiled,
}

/// A sandbox that is to be updated.
#[derive(Clone, Copy, Debug)]
pub struct ToUpdate<'a> {
    /// Where it is. Only one update of a call may be about a slot.
    pub slot: u32,
    /// Its attachment, when that may be another one than before.
    pub config: Option<&'a SandboxConfig>,
    /// Its policy, which must be of another generation than the one in force unless it says the same.
    pub policy: &'a Compiled,
}

impl Dataplane {
    /// Attaches a sandbox: its policy is in place before the first packet is judged.
    ///
    /// # Errors
    /// What the kernel refused; nothing is left behind then.
    pub fn attach(
        &mut self,
        place: Place,
        device: &Device,
        config: &SandboxConfig,
        policy: &Compiled,
    ) -> Result<(), Error> {
        only(self.attach_many(&[ToAttach { place, device, config, policy }]))
    }

    /// [`Self::attach`] for several sandboxes, which share grace periods. Tells of each what came of it, in order.
    pub fn attach_many(&mut self, sandboxes: &[ToAttach<'_>]) -> Vec<Result<(), Error>> {
        sandboxes.chunks(ATTACHED_AT_ONCE).flat_map(|some| self.attach_some(some)).collect()
    }

    fn attach_some(&mut self, sandboxes: &[ToAttach<'_>]) -> Vec<Result<(), Error>> {
        let made: Vec<Result<Contents, Error>> =
            sandboxes.iter().map(|one| self.shared.contents(one.config, one.policy)).collect();
        let slots = sandboxes.iter().map(|one| one.place.slot);
        let slots: Vec<_> = slots.zip(&made).filter_map(|(slot, made)| Some((slot, made.as_ref().ok()?))).collect();
        let mut filled = self.shared.fill(&slots).into_iter();
        let attached = sandboxes.iter().zip(made).map(|(one, made)| {
            let made = made.and_then(|_| filled.next().expect("an outcome for each that was made"));
            let attached = made.and_then(|()| self.hook_up(one));
            if attached.is_err()
                && let Err(error) = self.detach(one.place)
            {
                tracing::warn!(%error, slot = one.place.slot, "cannot take back a failed attachment");
            }
            attached
        });
        attached.collect()
    }

    /// Lets packets of a device be judged by what is in its slot.
    fn hook_up(&mut self, ToAttach { place, device, .. }: &ToAttach<'_>) -> Result<(), Error> {
        if place.is_cgroup() {
            let (cgroups, pins) = self.cgroups()?;
            return cgroups.attach(pins, *place, &CgroupPath::find(Path::new(&device.name))?);
        }
        let instance = crate::instance(&mut self.instances, &self.pins, place.netns_inode)?;
        instance.assign(place.ifindex, place.slot)?;
        fail_point("attach.assigned");
        instance.attach(&self.pins, device, *place, self.kind)
    }

    /// Switches a sandbox to a policy, which must be of another generation than the one in force unless it says the same. Effective at
    /// one instant; when this returns, no packet is judged by an older one.
    ///
    /// # Errors
    /// What the kernel refused; the old policy is whole then.
    pub fn switch(&mut self, slot: u32, policy: &Compiled) -> Result<(), Error> {
        only(self.switch_many(&[(slot, policy)]))
    }

    /// [`Self::switch`] for several sandboxes, which share a grace period. Tells of each what came of it, in order.
    pub fn switch_many(&mut self, policies: &[(u32, &Compiled)]) -> Vec<Result<(), Error>> {
        let updates: Vec<_> =
            policies.iter().map(|(slot, policy)| ToUpdate { slot: *slot, config: None, policy }).collect();
        self.update_many(&updates)
    }

    /// Switches a sandbox to an attachment and a policy of a later generation, both at the same instant.
    ///
    /// # Errors
    /// What the kernel refused; both old ones are whole then.
    pub fn update(&mut self, slot: u32, config: &SandboxConfig, policy: &Compiled) -> Result<(), Error> {
        only(self.update_many(&[ToUpdate { slot, config: Some(config), policy }]))
    }

    /// [`Self::update`] for several sandboxes, which share grace periods. Tells of each what came of it, in order.
    pub fn update_many(&mut self, sandboxes: &[ToUpdate<'_>]) -> Vec<Result<(), Error>> {
        sandboxes.chunks(UPDATED_AT_ONCE).flat_map(|some| self.update_some(some)).collect()
    }

    fn update_some(&mut self, sandboxes: &[ToUpdate<'_>]) -> Vec<Result<(), Error>> {
        let open = |one: &ToUpdate<'_>| (one.slot, one.config.is_some_and(is_open));
        let followed = self.shared.flows.provide(&sandboxes.iter().map(open).collect::<Vec<_>>());
        let mut prepare =
            |ToUpdate { slot, config, policy }: &ToUpdate<'_>| self.shared.prepare(*slot, *config, policy);
        let each = sandboxes.iter().zip(followed);
        let made: Vec<Result<Prepared, Error>> =
            each.map(|(one, followed)| followed.and_then(|()| prepare(one))).collect();
        fail_point("switch.built");
        let changes = sandboxes.iter().zip(&made);
        let changes: Vec<_> = changes.filter_map(|(one, made)| Some((one.slot, made.as_ref().ok()?))).collect();
        let mut switched = self.shared.switch(&changes).into_iter();
        let mut prepared = Vec::with_capacity(changes.len());
        let outcomes = made.into_iter().map(|made| {
            prepared.push(made?);
            switched.next().expect("an outcome for each that was made")
        });
        let outcomes = outcomes.collect();
        self.shared.retire(prepared.into_iter());
        outcomes
    }

    /// Gives up what earlier updates have replaced: the kernel waits for a grace period before it frees that, which an update at the same
    /// time would have to wait for as well.
    pub fn tidy(&mut self) {
        self.shared.tidy();
    }
}

fn only(mut outcomes: Vec<Result<(), Error>>) -> Result<(), Error> {
    outcomes.pop().expect("an outcome for each")
}
