//! What is on disk of a daemon, and what somebody else could do to it.

use crate::Daemon;
use anyhow::{Context, Result, ensure};
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use test_world::poll;

type Table = TableDefinition<'static, &'static str, &'static [u8]>;

const META: Table = TableDefinition::new("meta");
const CURRENT: Table = TableDefinition::new("current");
const PREPARED: Table = TableDefinition::new("prepared");
const MAKING: Table = TableDefinition::new("making");

/// How long a file that is being written may take to be whole.
const WHOLE: Duration = Duration::from_secs(5);

impl Daemon {
    /// The file that its records are in.
    pub fn store(&self) -> PathBuf {
        self.state_dir().join("store.redb")
    }

    /// The records on disk, by id; where a change is prepared, what is to be. A daemon may be running: another one that came after a
    /// power cut now would find these.
    ///
    /// # Errors
    /// When there is no store, or it is not whole.
    pub fn records(&self) -> Result<BTreeMap<String, Value>> {
        self.read(&[CURRENT, PREPARED])
    }

    /// The ids of the sandboxes that, by the disk, the provider is being asked for.
    ///
    /// # Errors
    /// As [`Self::records`].
    pub fn making(&self) -> Result<Vec<String>> {
        Ok(self.read(&[MAKING])?.into_keys().collect())
    }

    fn read(&self, tables: &[Table]) -> Result<BTreeMap<String, Value>> {
        let mut last = None;
        // A copy of what is just being written need not be whole.
        let read = poll(WHOLE, || self.read_copy(tables).map_err(|error| last = Some(error)).ok());
        read.ok_or_else(|| last.take().unwrap_or_else(|| anyhow::anyhow!("no time to read")))
            .with_context(|| format!("cannot read {}", self.store().display()))
    }

    fn read_copy(&self, tables: &[Table]) -> Result<BTreeMap<String, Value>> {
        let bytes = fs::read(self.store())?;
        let copy = InMemoryBackend::new();
        copy.set_len(bytes.len() as u64)?;
        copy.write(0, &bytes)?;
        let database = Database::builder().create_with_backend(copy)?;
        let transaction = database.begin_read()?;
        let mut records = BTreeMap::new();
        for table in tables {
            for entry in transaction.open_table(*table)?.iter()? {
                let (id, bytes) = entry?;
                records.insert(id.value().to_owned(), serde_json::from_slice(bytes.value())?);
            }
        }
        Ok(records)
    }

    /// Removes the record of a sandbox. No daemon runs.
    ///
    /// # Errors
    /// When there is none, or a daemon runs.
    pub fn forget(&self, id: &str) -> Result<()> {
        self.change(|transaction| {
            let prepared = transaction.open_table(PREPARED)?.remove(id)?.is_some();
            let current = transaction.open_table(CURRENT)?.remove(id)?.is_some();
            ensure!(prepared || current, "no record of {id}");
            Ok(())
        })
    }

    /// Makes the next daemon find that the machine was restarted. No daemon runs.
    ///
    /// # Errors
    /// When a daemon runs.
    pub fn restarts_machine(&self) -> Result<()> {
        self.change(|transaction| {
            transaction.open_table(META)?.insert("boot", b"another".as_slice())?;
            Ok(())
        })
    }

    /// Makes the store one of another version. No daemon runs.
    ///
    /// # Errors
    /// When a daemon runs.
    pub fn sets_version(&self, version: u32) -> Result<()> {
        self.change(|transaction| {
            transaction.open_table(META)?.insert("version", version.to_string().as_bytes())?;
            Ok(())
        })
    }

    fn change(&self, change: impl FnOnce(&redb::WriteTransaction) -> Result<()>) -> Result<()> {
        let database = Database::open(self.store())?;
        let transaction = database.begin_write()?;
        change(&transaction)?;
        transaction.commit()?;
        Ok(database.close()?)
    }
}
