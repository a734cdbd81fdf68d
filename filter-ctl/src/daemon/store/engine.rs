//! Transactions, and what to do when one fails.
//!
//! redb refuses everything after an error of the disk until its file is opened again, and has forgotten by then what was not durable.
//! So what is true and may not be on disk is kept here, and written first when the file is opened again.

use super::{file, schema};
use anyhow::{Context, bail};
use redb::{Database, Durability, ReadableDatabase, WriteTransaction};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Opens the file, again and again.
type Opener = Box<dyn Fn() -> anyhow::Result<Database> + Send + Sync>;

/// What is true of a sandbox, whatever is on disk.
#[derive(Clone)]
pub(super) enum Truth {
    /// This record is current, and nothing is prepared.
    Current(Vec<u8>),
    /// What is current is, and nothing is prepared.
    Unprepared,
    /// There is none.
    Gone,
}

/// A database that is opened again after an error.
pub(super) struct Engine {
    open: Opener,
    state: Mutex<State>,
}

struct State {
    /// None after an error, and at the end.
    database: Option<Database>,
    /// What no durable transaction has carried yet, by id.
    loose: BTreeMap<String, Truth>,
    /// Since when something is loose.
    since: Option<Instant>,
    /// Nothing may be written any more.
    closed: bool,
}

impl Engine {
    /// Opens the file.
    pub(super) fn new(open: Opener) -> anyhow::Result<Engine> {
        let database = open()?;
        let state = State { database: Some(database), loose: BTreeMap::new(), since: None, closed: false };
        Ok(Engine { open, state: Mutex::new(state) })
    }

    /// Reads, including what is not durable yet.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> anyhow::Result<T> {
        let mut state = self.state();
        let database = state.opened(&self.open)?;
        let read = database.begin_read().map_err(redb::Error::from).and_then(|transaction| work(&transaction));
        state.heed(read).context("cannot read the store")
    }

    /// Writes. When it returns, that and all that was written before is on disk: one sync, and one more when the file has to grow.
    pub(super) fn durable<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> anyhow::Result<T> {
        let mut state = self.state();
        let written = transact(state.opened(&self.open)?, Durability::Immediate, work);
        if written.is_ok() {
            state.tighten();
        }
        state.heed(written).context("cannot write to the store").map_err(file::hinted)
    }

    /// Writes what is true of sandboxes. The next durable transaction carries it to the disk.
    pub(super) fn lazy(&self, truths: Vec<(String, Truth)>) -> anyhow::Result<()> {
        let mut state = self.state();
        let database = state.opened(&self.open);
        let written = database.map(|database| {
            transact(database, Durability::None, |transaction| {
                truths.iter().try_for_each(|(id, truth)| truth.write(transaction, id))
            })
        });
        state.loose.extend(truths);
        state.since.get_or_insert_with(Instant::now);
        state.heed(written?).context("cannot write to the store")
    }

    /// Writes what is true of sandboxes, down to the disk. Should that fail, it is tried again with whatever is written next.
    pub(super) fn settle(&self, truths: Vec<(String, Truth)>) -> anyhow::Result<()> {
        {
            let mut state = self.state();
            state.since.get_or_insert_with(Instant::now);
            for (id, truth) in &truths {
                match (truth, state.loose.get(id)) {
                    // Then nothing is prepared already.
                    (Truth::Unprepared, Some(_)) => {}
                    _ => drop(state.loose.insert(id.clone(), truth.clone())),
                }
            }
        }
        self.durable(|transaction| truths.iter().try_for_each(|(id, truth)| truth.write(transaction, id)))
    }

    /// Makes everything durable that has been loose for so long.
    pub(super) fn flush(&self, older: Duration) -> anyhow::Result<()> {
        let due = self.state().since.is_some_and(|since| since.elapsed() >= older);
        if due { self.durable(|_| Ok(())) } else { Ok(()) }
    }

    /// Makes everything durable, and takes nothing from then on.
    pub(super) fn close(&self) -> anyhow::Result<()> {
        let flushed = self.flush(Duration::ZERO);
        let mut state = self.state();
        state.closed = true;
        let closed = state.database.take().map_or(Ok(()), Database::close);
        flushed.and_then(|()| closed.context("cannot close the store"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }
}

impl State {
    /// The database, opened again if need be. Then what is true is written first.
    fn opened(&mut self, open: &Opener) -> anyhow::Result<&Database> {
        if self.closed {
            bail!("the store is closed: the daemon is stopping");
        }
        let database = match self.database.take() {
            Some(database) => database,
            None => {
                let database = open()?;
                let rewritten = transact(&database, Durability::Immediate, |transaction| {
                    self.loose.iter().try_for_each(|(id, truth)| truth.write(transaction, id))
                });
                rewritten.context("cannot write to the store").map_err(file::hinted)?;
                self.tighten();
                tracing::info!("the store was opened again");
                database
            }
        };
        Ok(self.database.insert(database))
    }

    /// Everything is on disk.
    fn tighten(&mut self) {
        self.loose.clear();
        self.since = None;
    }

    /// After an error the database is of no use: the next caller opens it again.
    fn heed<T>(&mut self, outcome: Result<T, redb::Error>) -> Result<T, redb::Error> {
        if outcome.is_err() {
            self.database = None;
        }
        outcome
    }
}

impl Truth {
    fn write(&self, transaction: &WriteTransaction, id: &str) -> Result<(), redb::Error> {
        match self {
            Truth::Current(bytes) => schema::complete(transaction, id, bytes),
            Truth::Unprepared => {
                transaction.open_table(schema::PREPARED)?.remove(id)?;
                Ok(())
            }
            Truth::Gone => schema::forget(transaction, id),
        }
    }
}

fn transact<T>(
    database: &Database,
    durability: Durability,
    work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
) -> Result<T, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(durability)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}
