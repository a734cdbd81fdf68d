//! What is wanted, on disk: one file, `store.redb`, that changes by transactions.
//!
//! A change costs one durable write: its record is *prepared* on disk, then made true in the kernel, then made current, which the next
//! durable write carries. A daemon that died between finds what is prepared and asks the kernel which of the two it enforces. When the
//! machine was restarted the kernel has forgotten, and the change may have been acknowledged: then it is completed.

mod boot;
mod engine;
mod file;
mod files;
mod overlay;
mod record;
mod schema;
mod shelf;
#[cfg(test)]
mod tests;

pub(super) use file::hinted;
pub(super) use record::{Pending, Record};
pub(super) use shelf::Table;

use anyhow::{Context, anyhow};
use engine::{Engine, Truth};
use filter_dataplane::fail_point;
use redb::{Database, ReadableTable, WriteTransaction};
use schema::{CURRENT, META, META_BOOT, META_INCARNATIONS, META_MOVED, META_PROBES, META_SECRET, PREPARED};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// The file, in the state directory.
const FILE: &str = "store.redb";

/// The store of one daemon.
pub(super) struct Store {
    path: PathBuf,
    engine: Engine,
    /// What is prepared and was neither made current nor dropped, by id, as it is on disk.
    prepared: Mutex<BTreeMap<String, Vec<u8>>>,
    secret: [u8; 32],
}

impl Store {
    /// Opens the store of a state directory; makes it when there is none, of the files of version 1 where those are there.
    ///
    /// # Errors
    /// When the disk is full or cannot be written, the file is damaged, or it is of a newer version. Nothing was changed then.
    pub(super) fn open(state_dir: &Path) -> anyhow::Result<Store> {
        Store::open_in(state_dir, &boot::id()?)
    }

    /// [`Self::open`] in the life of the kernel that has this id.
    fn open_in(state_dir: &Path, boot: &str) -> anyhow::Result<Store> {
        let path = state_dir.join(FILE);
        if !path.try_exists().with_context(|| format!("cannot look for {}", path.display()))? {
            let contents = files::read(state_dir)?.unwrap_or_default();
            file::create(&path, &contents, boot)?;
        }
        file::check(&path)?;
        let again = path.clone();
        let store = Store::over(path, Box::new(move || file::open(&again)), boot)?;
        if store.engine.read(|transaction| Ok(transaction.open_table(META)?.get(META_MOVED)?.is_some()))? {
            files::remove(state_dir)?;
            store.engine.durable(|transaction| {
                transaction.open_table(META)?.remove(META_MOVED)?;
                Ok(())
            })?;
        } else {
            files::none(state_dir)?;
        }
        Ok(store)
    }

    /// The store in a file that is whole.
    fn over(
        path: PathBuf,
        open: Box<dyn Fn() -> anyhow::Result<Database> + Send + Sync>,
        boot: &str,
    ) -> anyhow::Result<Store> {
        let engine = Engine::new(open)?;
        let (last_boot, secret) = engine.read(|transaction| {
            let meta = transaction.open_table(META)?;
            let of = |key| Ok::<_, redb::Error>(meta.get(key)?.map(|value| value.value().to_vec()));
            Ok((of(META_BOOT)?, of(META_SECRET)?))
        })?;
        if last_boot.is_none_or(|last| last != boot.as_bytes()) {
            let completed = engine.durable(|transaction| roll_forward(transaction, boot))?;
            if completed > 0 {
                tracing::info!(changes = completed, "the machine was restarted: what was begun is completed");
            }
        }
        let prepared = engine.read(|transaction| schema::entries(&transaction.open_table(PREPARED)?))?;
        let prepared = Mutex::new(prepared.into_iter().collect());
        let mut store = Store { path, engine, prepared, secret: [0; 32] };
        let secret = secret.and_then(|secret| secret.try_into().ok());
        store.secret = secret.ok_or_else(|| store.damaged("the secret"))?;
        Ok(store)
    }

    /// Bytes that only this store knows, and always has. For keys that are derived, never to be shown.
    pub(super) fn host_secret(&self) -> [u8; 32] {
        self.secret
    }

    /// Reserves the next block of incarnation numbers and returns its first: no number is used twice, even when the records
    /// that had it are gone.
    ///
    /// # Errors
    /// When the disk does not take that.
    pub(super) fn reserve_incarnations(&self) -> anyhow::Result<u32> {
        self.engine.durable(|transaction| {
            let mut meta = transaction.open_table(META)?;
            // The upper half of the numbers.
            let block = (schema::number(&meta, META_INCARNATIONS)? as u16).wrapping_add(1);
            schema::set_number(&mut meta, META_INCARNATIONS, block.into())?;
            Ok(u32::from(block) << 16)
        })
    }

    /// All records: what is current, and what was prepared and not confirmed.
    ///
    /// # Errors
    /// When the disk cannot be read, or a record does not hold what one holds.
    pub(super) fn load(&self) -> anyhow::Result<Vec<(String, Pending)>> {
        let current = self.engine.read(|transaction| schema::entries(&transaction.open_table(CURRENT)?))?;
        let mut all: BTreeMap<String, Pending> = BTreeMap::new();
        let parse = |id: &str, bytes: &[u8]| -> anyhow::Result<Option<Record>> {
            // What does not hold may be a secret: it is not told.
            Ok(Some(serde_json::from_slice(bytes).map_err(|_| self.damaged(&format!("the record of sandbox {id:?}")))?))
        };
        for (id, bytes) in current {
            let current = parse(&id, &bytes)?;
            all.insert(id, Pending { current, next: None });
        }
        for (id, bytes) in self.prepared().iter() {
            all.entry(id.clone()).or_insert(Pending { current: None, next: None }).next = parse(id, bytes)?;
        }
        Ok(all.into_iter().collect())
    }

    /// Writes what is about to be made true. It is on disk when this returns.
    ///
    /// # Errors
    /// When the disk does not take it: then nothing is prepared.
    pub(super) fn prepare(&self, id: &str, record: &Record) -> anyhow::Result<()> {
        self.prepare_many(&[(id, record)]).pop().expect("an outcome for each")
    }

    /// [`Self::prepare`] for several sandboxes, which share one durable write. Tells of each what came of it, in order.
    pub(super) fn prepare_many(&self, records: &[(&str, &Record)]) -> Vec<anyhow::Result<()>> {
        if records.is_empty() {
            return Vec::new();
        }
        match self.write_prepared(records) {
            Ok(()) => records.iter().map(|_| Ok(())).collect(),
            Err(error) => {
                // It may be on disk all the same.
                self.drop_prepared_many(&records.iter().map(|(id, _)| *id).collect::<Vec<_>>());
                let told = format!("{error:#}");
                records.iter().map(|_| Err(anyhow!("{told}"))).collect()
            }
        }
    }

    fn write_prepared(&self, records: &[(&str, &Record)]) -> anyhow::Result<()> {
        let encode = |(id, record): &(&str, &Record)| Ok((id.to_string(), serde_json::to_vec(record)?));
        let encoded: Vec<(String, Vec<u8>)> = records.iter().map(encode).collect::<anyhow::Result<_>>()?;
        self.engine.durable(|transaction| {
            let mut prepared = transaction.open_table(PREPARED)?;
            for (id, bytes) in &encoded {
                prepared.insert(id.as_str(), bytes.as_slice())?;
            }
            fail_point("store.preparing");
            Ok(())
        })?;
        fail_point("store.prepared");
        self.prepared().extend(encoded);
        Ok(())
    }

    /// Makes what was prepared current. The next durable write carries it to the disk; until then what is prepared is there.
    ///
    /// # Errors
    /// When nothing was prepared; or when the disk refuses, and then it is made current when the disk takes it.
    pub(super) fn commit(&self, id: &str) -> anyhow::Result<()> {
        self.commit_many(&[id]).pop().expect("an outcome for each")
    }

    /// [`Self::commit`] for several sandboxes. Tells of each what came of it, in order.
    pub(super) fn commit_many(&self, ids: &[&str]) -> Vec<anyhow::Result<()>> {
        let taken: Vec<_> = {
            let mut prepared = self.prepared();
            ids.iter().map(|id| prepared.remove(*id).map(|bytes| ((*id).to_owned(), Truth::Current(bytes)))).collect()
        };
        let known: Vec<bool> = taken.iter().map(Option::is_some).collect();
        let written = self.engine.lazy(taken.into_iter().flatten().collect()).map_err(|error| format!("{error:#}"));
        fail_point("store.committed");
        let outcome = |(id, known): (&&str, bool)| match &written {
            _ if !known => Err(anyhow!("nothing was prepared for {id}")),
            Ok(()) => Ok(()),
            Err(error) => Err(anyhow!("{error}")),
        };
        ids.iter().zip(known).map(outcome).collect()
    }

    /// Forgets what was prepared. It is gone from the disk when this returns; should the disk refuse, it goes with the next write.
    pub(super) fn drop_prepared(&self, id: &str) {
        self.drop_prepared_many(&[id]);
    }

    /// [`Self::drop_prepared`] for several sandboxes, which share one durable write.
    pub(super) fn drop_prepared_many(&self, ids: &[&str]) {
        if ids.is_empty() {
            return;
        }
        ids.iter().for_each(|id| drop(self.prepared().remove(*id)));
        let truths = ids.iter().map(|id| ((*id).to_owned(), Truth::Unprepared)).collect();
        if let Err(error) = self.engine.settle(truths) {
            tracing::error!(?ids, "what was prepared and is refused cannot be removed yet: {error:#}");
        }
    }

    /// Replaces what is current of a sandbox of which no change is under way, for what does not concern the kernel. It is on disk when
    /// this returns.
    ///
    /// # Errors
    /// When there is no such record, or the disk does not take it: then the old one or the new one is there, whole.
    pub(super) fn rewrite(&self, id: &str, record: &Record) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec(record)?;
        let replaced = self.engine.durable(|transaction| {
            let mut current = transaction.open_table(CURRENT)?;
            let is_there = current.get(id)?.is_some();
            if is_there {
                current.insert(id, bytes.as_slice())?;
            }
            Ok(is_there)
        })?;
        if replaced { Ok(()) } else { Err(anyhow!("there is no record of sandbox {id:?}")) }
    }

    /// Forgets a sandbox. It is gone from the disk when this returns.
    ///
    /// # Errors
    /// When the disk refuses; it goes with the next write.
    pub(super) fn remove(&self, id: &str) -> anyhow::Result<()> {
        self.prepared().remove(id);
        fail_point("store.removing");
        self.engine.settle(vec![(id.to_owned(), Truth::Gone)])?;
        fail_point("store.removed");
        Ok(())
    }

    /// Makes durable what is not: before the kernel forgets what it enforces, for it is not there to be asked any more.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn flush(&self) -> anyhow::Result<()> {
        self.engine.flush(Duration::ZERO)
    }

    /// [`Self::flush`] of what no other write has carried for so long.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn flush_older(&self, age: Duration) -> anyhow::Result<()> {
        self.engine.flush(age)
    }

    /// Finds out whether the disk takes what is written.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn probe(&self) -> anyhow::Result<()> {
        self.engine.durable(|transaction| {
            let mut meta = transaction.open_table(META)?;
            // Something has to change, or nothing would be written.
            let last = schema::number(&meta, META_PROBES)?;
            schema::set_number(&mut meta, META_PROBES, last.wrapping_add(1))
        })
    }

    /// Makes everything durable and closes the file. Nothing can be written any more.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn close(&self) -> anyhow::Result<()> {
        self.engine.close()
    }

    fn prepared(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.prepared.lock().expect("no panic under the lock")
    }

    fn damaged(&self, what: &str) -> anyhow::Error {
        anyhow!(
            "{what} in {} is damaged\n  hint: put a copy of the file there, or move it away: then filter-ctl doctor lists the hooks that go on enforcing",
            self.path.display()
        )
    }
}

/// Completes everything that is prepared: the kernel that could have been asked is gone, and it may have been acknowledged. Tells how
/// much that was.
fn roll_forward(transaction: &WriteTransaction, boot: &str) -> Result<usize, redb::Error> {
    transaction.open_table(META)?.insert(META_BOOT, boot.as_bytes())?;
    let prepared = schema::entries(&transaction.open_table(PREPARED)?)?;
    for (id, bytes) in &prepared {
        match serde_json::from_slice::<Record>(bytes) {
            Ok(record) if record.leaving => schema::forget(transaction, id)?,
            // What does not hold is found when it is loaded.
            _ => schema::complete(transaction, id, bytes)?,
        }
    }
    Ok(prepared.len())
}
