//! What a benchmark needs besides: other objects in the place of the embedded one, the programs by themselves, and the time that one takes.

use crate::explain;
use crate::hook::Hook;
use crate::instance::{self, Instance};
use crate::{Dataplane, Error, Place, programs};
use aya::Ebpf;
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use std::time::{Duration, Instant};

/// What a kernel takes to accept a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The program's name.
    pub program: String,
    /// How many instructions the verifier has gone through (`verified_insns`, Linux 5.16), of the 1,000,000 that it does.
    pub instructions: Option<u32>,
    /// How long loading took.
    pub load: Duration,
}

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

    /// Loads each program once more, by itself, and tells what that took. None of them is attached.
    ///
    /// # Errors
    /// When one cannot be loaded.
    pub fn budgets(&self) -> Result<Vec<Budget>, Error> {
        let mut ebpf = instance::load_apart(&self.pins, self.own_netns)?;
        let mut budgets = Vec::new();
        for (name, program) in ebpf.programs_mut() {
            let began = Instant::now();
            programs::load_one(program)?;
            let load = began.elapsed();
            let instructions = program.info()?.verified_instruction_count();
            budgets.push(Budget { program: name.to_owned(), instructions, load });
        }
        budgets.sort_by(|one, other| one.program.cmp(&other.program));
        Ok(budgets)
    }

    /// Takes the program off a sandbox's device and leaves everything else: others may run it there.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn unhook(&mut self, place: Place) -> Result<(), Error> {
        instance::detach(&self.pins, place)
    }

    /// The program for packets from the sandboxes of a namespace, or for those towards them.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn program(&mut self, netns_inode: u64, from_sandbox: bool) -> Result<&mut SchedClassifier, Error> {
        let hook = if from_sandbox { Hook::FromSandbox } else { Hook::ToSandbox };
        Ok(crate::instance(&mut self.instances, &self.pins, netns_inode)?.program(hook))
    }

    /// Runs the attached program on a frame from the sandbox so many times, with every effect of real packets; the mean time of a
    /// run. The frame must be one that the program does not change.
    ///
    /// # Errors
    /// As [`Self::run`]; the calling thread must be in the namespace of the device.
    pub fn time(&mut self, place: Place, frame: &[u8], repeat: u32) -> Result<Duration, Error> {
        let program = self.program(place.netns_inode, true)?;
        let context = explain::context(place.ifindex, 0);
        let options = TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), repeat, ..TestRunOptions::new() };
        Ok(program.test_run(options)?.duration)
    }
}
