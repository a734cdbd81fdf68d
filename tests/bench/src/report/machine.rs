//! Where a report was made.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::thread;

/// What figures depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The processor, as it names itself.
    pub(crate) processor: String,
    /// How many of its threads there are for this process.
    pub(crate) cpus: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// What wanted to run in the minute before, as the kernel counts it. More than a little disturbs what is measured.
    pub(crate) load: f64,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { processor, cpus, kernel, load } = self;
        write!(f, "{processor}, {cpus} CPUs, Linux {kernel}, load {load:.1} before")
    }
}

impl Machine {
    /// This one.
    pub(crate) fn here() -> Machine {
        let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let names = ["model name", "CPU part", "cpu"];
        let find = |name: &&str| {
            let line = about.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == *name))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Machine {
            processor: names.iter().find_map(find).unwrap_or_else(|| "a processor without a name".to_owned()),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().to_owned(),
            load: load.split(' ').next().and_then(|minute| minute.parse().ok()).unwrap_or(0.0),
        }
    }
}
