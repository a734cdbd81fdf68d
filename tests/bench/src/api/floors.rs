//! What no update can do without: one durable write, and one grace period of the kernel.

use crate::control::lists;
use crate::control::yard::{Filter, Yard, slot};
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

/// A record of a sandbox and what its store changes with it, in bytes.
const WRITTEN: usize = 8 << 10;

/// Both, measured bare.
pub(super) struct Floors {
    file: File,
    filter: Filter,
    generation: u32,
    _yard: Yard,
}

impl Floors {
    /// With a file in this folder, which is on the disk that the daemon's is on.
    pub(super) fn new(folder: &Path) -> Result<Floors> {
        let path = folder.join("floor");
        let mut file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        file.write_all(&[0; WRITTEN])?;
        file.sync_all()?;
        let yard = Yard::new(1)?;
        let mut filter = Filter::new("floors")?;
        filter.attach(&yard, 0, 1, &lists::compiled(0, 1))?;
        Ok(Floors { file, filter, generation: 1, _yard: yard })
    }

    /// How long a write takes until it is on the disk, in nanoseconds.
    pub(super) fn write(&mut self) -> Result<f64> {
        let bytes = [fastrand::u8(..); WRITTEN];
        let started = Instant::now();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        Ok(started.elapsed().as_nanos() as f64)
    }

    /// How long the kernel takes to confirm that nobody judges by an older policy, in nanoseconds.
    pub(super) fn grace(&mut self) -> Result<f64> {
        self.generation += 1;
        let policy = lists::compiled(0, self.generation);
        Ok(self.filter.dataplane().time_switch(slot(0), &policy)?.confirmed.as_nanos() as f64)
    }
}
