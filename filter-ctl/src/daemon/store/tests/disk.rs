//! A disk in memory that remembers everything that was written to it, and refuses what it is told to.

use super::super::{Store, file};
use anyhow::Result;
use redb::{Builder, StorageBackend};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// What was done to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// A disk with one file on it.
#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    log: Vec<Done>,
    syncs: u64,
    /// How many writes and syncs it does yet before it refuses, and how many it refuses then.
    refusing: Option<(usize, usize)>,
}

impl Disk {
    /// A disk with a new store.
    pub(super) fn new() -> Result<Disk> {
        let dir = TempDir::new()?;
        let path = dir.path().join("store.redb");
        file::create(&path, &file::Contents::default(), "one")?;
        Ok(Disk::of(fs::read(&path)?))
    }

    /// A disk with a file of these bytes.
    pub(super) fn of(bytes: Vec<u8>) -> Disk {
        Disk(Arc::new(Mutex::new(State { bytes, log: Vec::new(), syncs: 0, refusing: None })))
    }

    /// Opens the store as a daemon does, in this life of the kernel.
    pub(super) fn store(&self, boot: &str) -> Result<Store> {
        file::whole(self.clone())?;
        let disk = self.clone();
        let open = move || Ok(Builder::new().set_cache_size(1 << 20).create_with_backend(disk.clone())?);
        Store::over(PathBuf::from("store.redb"), Box::new(open), boot)
    }

    pub(super) fn syncs(&self) -> u64 {
        self.with(|state| state.syncs)
    }

    /// How much was done to it so far.
    pub(super) fn done(&self) -> usize {
        self.with(|state| state.log.len())
    }

    pub(super) fn log(&self) -> Vec<Done> {
        self.with(|state| state.log.clone())
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.with(|state| state.bytes.clone())
    }

    /// After so many more writes and syncs it refuses so many.
    pub(super) fn refuse(&self, after: usize, times: usize) {
        self.with(|state| state.refusing = Some((after, times)));
    }

    /// Whether it has refused all that it was to refuse.
    pub(super) fn has_refused(&self) -> bool {
        self.with(|state| state.refusing.is_none())
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().expect("no panic under the lock"))
    }

    fn change(&self, done: Done) -> io::Result<()> {
        self.with(|state| {
            match &mut state.refusing {
                Some((0, times)) => {
                    *times -= 1;
                    if *times == 0 {
                        state.refusing = None;
                    }
                    return Err(io::ErrorKind::StorageFull.into());
                }
                Some((after, _)) => *after -= 1,
                None => {}
            }
            apply(&mut state.bytes, &done);
            state.syncs += u64::from(done == Done::Sync);
            state.log.push(done);
            Ok(())
        })
    }
}

/// Does to a file what was done.
pub(super) fn apply(bytes: &mut Vec<u8>, done: &Done) {
    match done {
        Done::Sync => {}
        Done::SetLen(len) => bytes.resize(*len as usize, 0),
        Done::Write(offset, data) => {
            let (start, end) = (*offset as usize, *offset as usize + data.len());
            bytes.resize(bytes.len().max(end), 0);
            bytes[start..end].copy_from_slice(data);
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|state| state.bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|state| {
            let there = state.bytes.get(offset as usize..offset as usize + out.len());
            there.map(|there| out.copy_from_slice(there)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Done::SetLen(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(Done::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Done::Write(offset, data.to_vec()))
    }
}
