//! What a benchmark needs besides: other objects in the place of the embedded one, and the time that a program takes.

use crate::explain;
use crate::hook::Hook;
use crate::instance::Instance;
use crate::{Dataplane, Error, Place};
use aya::Ebpf;
use aya::programs::{TestRun, TestRunOptions};
use std::time::Duration;

impl Dataplane {
    /// Sandboxes that are attached in a namespace from now on are judged by this object's programs, which must use the filter's
    /// maps. Returns what else the object has.
    ///
    /// # Errors
    /// When the object cannot be loaded.
    pub fn load_object(&mut self, netns_inode: u64, object: &[u8]) -> Result<Ebpf, Error> {
        let (instance, ebpf) = Instance::load_object(object, &self.pins, netns_inode)?;
        self.instances.insert(netns_inode, instance);
        Ok(ebpf)
    }

    /// Runs the attached program on a frame from the sandbox so many times, with every effect of real packets; the mean time of a
    /// run. The frame must be one that the program does not change.
    ///
    /// # Errors
    /// As [`Self::run`]; the calling thread must be in the namespace of the device.
    pub fn time(&mut self, place: Place, frame: &[u8], repeat: u32) -> Result<Duration, Error> {
        let instance = crate::instance(&mut self.instances, &self.pins, place.netns_inode)?;
        let context = explain::context(place.ifindex, 0);
        let options = TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), repeat, ..TestRunOptions::new() };
        Ok(instance.program(Hook::FromSandbox).test_run(options)?.duration)
    }
}
