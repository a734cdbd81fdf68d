//! Made packets through the attached program.

use crate::explain::{self, Judgement, Outcome};
use crate::hook::Hook;
use crate::{Dataplane, Error, Place, instance};

impl Dataplane {
    /// What the attached program says of a made frame from a sandbox, without a trace in its counters, limits or events.
    ///
    /// # Errors
    /// What the kernel refused; frames of fewer than 14 bytes are refused always.
    pub fn explain(&mut self, place: Place, frame: &[u8]) -> Result<Judgement, Error> {
        // A cgroup's packets are judged by the same policy; the program is that of the daemon's namespace.
        let netns_inode = if place.is_cgroup() { self.own_netns } else { place.netns_inode };
        let instance = instance(&mut self.instances, &self.pins, netns_inode)?;
        explain::judge(&mut self.shared, &self.pins, instance, place.slot, frame)
    }

    /// Runs the attached program on a frame as if the sandbox's device had received it, with every effect of a real packet, and
    /// tells whether it passes. For tests and benchmarks.
    ///
    /// # Errors
    /// As [`Self::explain`]; the calling thread must be in the namespace of the device.
    pub fn run(&mut self, place: Place, frame: &[u8]) -> Result<bool, Error> {
        let instance = instance(&mut self.instances, &self.pins, place.netns_inode)?;
        Ok(explain::run(instance, Hook::FromSandbox, place.ifindex, 0, frame)?.passes())
    }

    /// As [`Self::run`], and tells what else became of the packet: a denied one may have been turned into its answer.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_for_answer(&mut self, place: Place, frame: &[u8]) -> Result<Outcome, Error> {
        let instance = instance(&mut self.instances, &self.pins, place.netns_inode)?;
        explain::run(instance, Hook::FromSandbox, place.ifindex, 0, frame)
    }

    /// As [`Self::run`], for a frame towards the sandbox that carries a mark.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_inbound(&mut self, place: Place, mark: u32, frame: &[u8]) -> Result<bool, Error> {
        let instance = instance(&mut self.instances, &self.pins, place.netns_inode)?;
        Ok(explain::run(instance, Hook::ToSandbox, place.ifindex, mark, frame)?.passes())
    }
}
