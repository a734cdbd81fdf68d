//! What is wanted, on disk: one record a sandbox.
//!
//! A change is written beside the record first (`ID.next`), then made in the kernel, then the record is replaced by one rename.
//! A daemon that died between finds the `.next` and asks the kernel which of the two it enforces.

use anyhow::Context;
use filter_dataplane::{Place, fail_point};
use filter_policy::{Document, Lines};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

/// Records that are written at the same time, at most.
const WRITERS: usize = 32;

/// A sandbox, as kept on disk. Holds the document's secrets: the file is for root alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// What its author wrote.
    pub document: Document,
    /// Where it was written.
    pub lines: Option<Lines>,
    /// Its index in the arrays of maps.
    pub slot: u32,
    /// Which attachment of this daemon's life it is.
    pub incarnation: u32,
    /// Generation of its policy.
    pub generation: u32,
    /// Name of its device.
    pub device: String,
    /// Index of its device.
    pub ifindex: u32,
    /// Namespace of its device.
    pub netns_inode: u64,
    /// Whether it has ended.
    pub sealed: bool,
    /// Whether it is being taken off its device; only what is prepared can say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// When it was created, seconds since 1970.
    pub created: u64,
    /// When it was last changed, seconds since 1970.
    pub updated: u64,
}

impl Record {
    /// Where it is in the kernel.
    pub(super) fn place(&self) -> Place {
        Place { slot: self.slot, netns_inode: self.netns_inode, ifindex: self.ifindex }
    }
}

/// The store of one daemon.
pub(super) struct Store {
    directory: PathBuf,
}

impl Store {
    pub(super) fn open(state_dir: &Path) -> anyhow::Result<Store> {
        let directory = state_dir.join("sandboxes");
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let unfinished = directory.with_file_name("incarnations.next");
        remove(&unfinished).with_context(|| format!("cannot remove {}", unfinished.display()))?;
        Ok(Store { directory })
    }

    /// Reserves the next block of incarnation numbers and returns its first: no number is used twice, even when the records
    /// that had it are gone.
    pub(super) fn reserve_incarnations(&self) -> anyhow::Result<u32> {
        let path = self.directory.with_file_name("incarnations");
        let last: u16 = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            other => other
                .map_err(anyhow::Error::from)
                .and_then(|text| Ok(text.trim().parse()?))
                .with_context(|| format!("cannot read {}", path.display()))?,
        };
        let block = last.wrapping_add(1);
        // Replaced as a whole: whoever dies here leaves the old number or the new one.
        let next = path.with_extension("next");
        let written = File::create(&next)
            .and_then(|mut file| file.write_all(format!("{block}\n").as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&next, &path))
            .and_then(|()| self.directory.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all()));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(u32::from(block) << 16)
    }

    /// All records: what is current, and what was prepared and not confirmed.
    pub(super) fn load(&self) -> anyhow::Result<Vec<(String, Pending)>> {
        let mut ids: Vec<String> = Vec::new();
        for entry in
            fs::read_dir(&self.directory).with_context(|| format!("cannot read {}", self.directory.display()))?
        {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(id) = name.strip_suffix(".json").or_else(|| name.strip_suffix(".next")) {
                ids.push(id.to_owned());
            }
        }
        ids.sort();
        ids.dedup();
        ids.into_iter()
            .map(|id| {
                let pending = Pending { current: read(&self.current(&id))?, next: read(&self.next(&id))? };
                Ok((id, pending))
            })
            .collect()
    }

    /// Writes what is about to be made true.
    pub(super) fn prepare(&self, id: &str, record: &Record) -> anyhow::Result<()> {
        self.prepare_many(&[(id, record)]).pop().expect("an outcome for each")
    }

    /// [`Self::prepare`] for several sandboxes, which share what the disk takes. Tells of each what came of it, in order.
    pub(super) fn prepare_many(&self, records: &[(&str, &Record)]) -> Vec<anyhow::Result<()>> {
        let write = |(id, record): &(&str, &Record)| {
            let path = self.next(id);
            write(&path, record).with_context(|| format!("cannot write {}", path.display()))
        };
        let share = records.len().div_ceil(WRITERS).max(1);
        let mut written: Vec<anyhow::Result<()>> = thread::scope(|scope| match records {
            [] => Vec::new(),
            [only] => vec![write(only)],
            all => {
                // The disk takes what is given to it at the same time in one go.
                let start = |some| scope.spawn(move || Iterator::map(<[_]>::iter(some), write).collect::<Vec<_>>());
                let writers: Vec<_> = all.chunks(share).map(start).collect();
                writers.into_iter().flat_map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
            }
        });
        fail_point("store.written");
        if let Err(error) = self.sync() {
            written.iter_mut().for_each(|one| *one = Err(anyhow::anyhow!("{error:#}")));
        }
        for ((id, _), _) in records.iter().zip(&written).filter(|(_, written)| written.is_err()) {
            self.drop_prepared(id);
        }
        written
    }

    /// Makes what was prepared current.
    pub(super) fn commit(&self, id: &str) -> anyhow::Result<()> {
        self.commit_many(&[id]).pop().expect("an outcome for each")
    }

    /// [`Self::commit`] for several sandboxes. Tells of each what came of it, in order.
    pub(super) fn commit_many(&self, ids: &[&str]) -> Vec<anyhow::Result<()>> {
        let rename = |id: &&str| {
            let (from, to) = (self.next(id), self.current(id));
            let renamed = fs::rename(&from, &to);
            fail_point("store.renamed");
            renamed.with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
        };
        let mut renamed: Vec<anyhow::Result<()>> = ids.iter().map(rename).collect();
        if let Err(error) = self.sync() {
            renamed.iter_mut().for_each(|one| *one = Err(anyhow::anyhow!("{error:#}")));
        }
        renamed
    }

    /// Forgets what was prepared.
    pub(super) fn drop_prepared(&self, id: &str) {
        if let Err(error) = remove(&self.next(id)) {
            tracing::warn!(%error, id, "cannot remove a prepared record");
        }
    }

    /// Forgets a sandbox; last what was prepared, which says that it is to be forgotten.
    pub(super) fn remove(&self, id: &str) -> anyhow::Result<()> {
        for path in [self.current(id), self.next(id)] {
            remove(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            fail_point("detach.removed");
        }
        self.sync()
    }

    /// Makes names in the directory durable.
    fn sync(&self) -> anyhow::Result<()> {
        Ok(File::open(&self.directory)?.sync_all()?)
    }

    fn current(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    fn next(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.next"))
    }
}

/// What the store has of one sandbox.
pub(super) struct Pending {
    /// What was confirmed last.
    pub current: Option<Record>,
    /// What was about to be made true when the daemon died.
    pub next: Option<Record>,
}

/// Writes a record to a file, down to the disk; its name may not be there yet.
fn write(path: &Path, record: &Record) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    Ok(file.sync_all()?)
}

fn read(path: &Path) -> anyhow::Result<Option<Record>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(record) => Ok(Some(record)),
            // A crash can leave half a prepared record; half a current one cannot be.
            Err(_) if path.extension().is_some_and(|extension| extension == "next") => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} is damaged", path.display())),
        },
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
