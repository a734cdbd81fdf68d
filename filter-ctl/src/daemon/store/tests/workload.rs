//! Random changes, and what must be in the store after each.

use super::super::schema::{self, META, META_INCARNATIONS};
use super::super::{Record, Store, Table};
use super::disk::Disk;
use super::record;
use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use std::collections::BTreeMap;

/// What is in a store after the machine was restarted: what is prepared has been completed.
pub(super) type Truth = BTreeMap<String, String>;

/// One daemon after the other, which change things at random.
pub(super) struct Workload {
    pub(super) disk: Disk,
    pub(super) truth: Truth,
    store: Store,
    random: Rng,
    generation: u32,
}

/// From when on what must be there: after so much was done to the disk, or while more is done.
pub(super) struct Step {
    pub(super) began: usize,
    pub(super) ended: usize,
    pub(super) before: Truth,
    pub(super) after: Truth,
}

impl Workload {
    pub(super) fn new(seed: u64) -> Result<Workload> {
        let disk = Disk::new()?;
        let store = disk.store("one")?;
        let truth = truth(&store)?;
        Ok(Workload { disk, truth, store, random: Rng::with_seed(seed), generation: 0 })
    }

    /// Changes something, each time in one transaction at the most.
    pub(super) fn step(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        match self.random.u32(..20) {
            0..8 => self.update(steps),
            8 | 9 => self.refused(steps),
            10 => self.removed(steps),
            11 => self.detached(steps),
            12 => self.rewritten(steps),
            13 | 14 => self.put(steps),
            15 => self.taken(steps),
            16 => self.reserved(steps),
            17 => self.flushed(steps),
            18 => self.restarted(steps),
            _ => self.killed(steps),
        }
    }

    /// Does something that makes `after` true, and notes what was done to the disk for it.
    fn change(&mut self, steps: &mut Vec<Step>, after: Truth, change: impl FnOnce(&Store) -> Result<()>) -> Result<()> {
        let began = self.disk.done();
        let changed = change(&self.store);
        let before = std::mem::replace(&mut self.truth, after.clone());
        steps.push(Step { began, ended: self.disk.done(), before, after });
        changed
    }

    fn id(&mut self) -> String {
        format!("s{}", self.random.u32(..6))
    }

    fn next(&mut self, id: &str) -> Record {
        self.generation += 1;
        let entries = if self.random.u32(..12) == 0 { 500 } else { self.random.usize(..60) };
        record(id, self.generation, entries)
    }

    fn with(&self, records: &[(String, Record)]) -> Truth {
        let mut after = self.truth.clone();
        after.extend(records.iter().map(|(id, record)| (format!("record {id}"), shown(record))));
        after
    }

    fn without(&self, name: &str) -> Truth {
        let mut after = self.truth.clone();
        after.remove(name);
        after
    }

    fn update(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        let records: BTreeMap<String, Record> = (0..self.random.u32(1..4))
            .map(|_| {
                let id = self.id();
                let record = self.next(&id);
                (id, record)
            })
            .collect();
        let records: Vec<(String, Record)> = records.into_iter().collect();
        let given: Vec<(&str, &Record)> = records.iter().map(|(id, record)| (id.as_str(), record)).collect();
        let ids: Vec<&str> = given.iter().map(|(id, _)| *id).collect();
        let (before, after) = (self.truth.clone(), self.with(&records));
        let prepared = self.change(steps, after.clone(), |store| all(store.prepare_many(&given)));
        if prepared.is_err() {
            self.truth = before;
            return prepared;
        }
        self.change(steps, after, |store| all(store.commit_many(&ids)))
    }

    fn refused(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        let id = self.id();
        let records = [(id.clone(), self.next(&id))];
        let before = self.truth.clone();
        let prepared = self.change(steps, self.with(&records), |store| store.prepare(&id, &records[0].1));
        let dropped = self.change(steps, before, |store| {
            store.drop_prepared(&id);
            Ok(())
        });
        prepared.and(dropped)
    }

    fn removed(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        let id = self.id();
        self.change(steps, self.without(&format!("record {id}")), |store| store.remove(&id))
    }

    fn detached(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        let id = self.id();
        let record = Record { leaving: true, ..self.next(&id) };
        let (before, after) = (self.truth.clone(), self.without(&format!("record {id}")));
        let prepared = self.change(steps, after.clone(), |store| store.prepare(&id, &record));
        if prepared.is_err() {
            self.truth = before;
            return prepared;
        }
        self.change(steps, after, |store| store.remove(&id))
    }

    fn rewritten(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        let id = self.id();
        let records = [(id.clone(), self.next(&id))];
        if !self.truth.contains_key(&format!("record {id}")) {
            return Ok(());
        }
        self.again(steps, self.with(&records), |store| store.rewrite(&id, &records[0].1))
    }

    fn put(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        let (table, name) = self.value();
        let value = self.random.u32(..);
        let mut after = self.truth.clone();
        after.insert(format!("{table:?} {name}"), value.to_string());
        self.again(steps, after, |store| store.put(table, &name, &value))
    }

    fn taken(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        let (table, name) = self.value();
        self.again(steps, self.without(&format!("{table:?} {name}")), |store| store.take(table, &name).map(drop))
    }

    fn value(&mut self) -> (Table, String) {
        (if self.random.bool() { Table::Keys } else { Table::Making }, format!("v{}", self.random.u32(..4)))
    }

    fn reserved(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        let last: u32 = self.truth["incarnations"].parse()?;
        let mut after = self.truth.clone();
        after.insert("incarnations".to_owned(), (last + 1).to_string());
        self.again(steps, after, |store| {
            // One that was reserved in vain is not used either.
            ensure!(store.reserve_incarnations()? >> 16 > last);
            Ok(())
        })?;
        self.truth = truth(&self.store)?;
        Ok(())
    }

    fn flushed(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        self.change(steps, self.truth.clone(), Store::flush)
    }

    /// The daemon is told to stop, and the next one starts.
    fn restarted(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        let closed = self.change(steps, self.truth.clone(), Store::close);
        let opened = self.opened(steps);
        closed.and(opened)
    }

    /// The daemon is killed, and the next one starts.
    fn killed(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        let killed = std::mem::replace(&mut self.store, Disk::new()?.store("one")?);
        std::mem::forget(killed);
        self.opened(steps)
    }

    /// The next daemon asks the kernel which of the two it enforces: what was refused is still prepared when the disk did not take that.
    fn opened(&mut self, steps: &mut Vec<Step>) -> Result<()> {
        let began = self.disk.done();
        let opened = (0..100).find_map(|_| self.disk.store("one").ok());
        let truth = self.truth.clone();
        steps.push(Step { began, ended: self.disk.done(), before: truth.clone(), after: truth.clone() });
        self.store = opened.context("it is never opened again")?;
        let (mut enforced, mut others) = (Vec::new(), Vec::new());
        for (id, all) in self.store.load()? {
            let Some(next) = all.next else { continue };
            let is_true = truth.get(&format!("record {id}")).is_some_and(|record| *record == shown(&next));
            if is_true { enforced.push(id) } else { others.push(id) }
        }
        self.change(steps, truth, |store| {
            store.drop_prepared_many(&others.iter().map(String::as_str).collect::<Vec<_>>());
            all(store.commit_many(&enforced.iter().map(String::as_str).collect::<Vec<_>>()))
        })
    }

    /// What may be there or not after an error is done again until it is.
    fn again(&mut self, steps: &mut Vec<Step>, after: Truth, change: impl Fn(&Store) -> Result<()>) -> Result<()> {
        self.change(steps, after, |store| {
            let first = change(store);
            if first.is_err() {
                ensure!((0..100).any(|_| change(store).is_ok()), "it never works again");
            }
            first
        })
    }

    /// What the store says now, as a daemon hears it.
    pub(super) fn agrees(&self) -> Result<()> {
        let found = truth(&self.store)?;
        ensure!(found == self.truth, "{found:?}\n  is not\n{:?}", self.truth);
        Ok(())
    }
}

/// Everything in a store; of what is prepared what would be completed.
pub(super) fn truth(store: &Store) -> Result<Truth> {
    let mut truth = Truth::new();
    for (id, all) in store.load()? {
        match (all.next, all.current) {
            (Some(next), _) if next.leaving => {}
            (Some(record), _) | (None, Some(record)) => drop(truth.insert(format!("record {id}"), shown(&record))),
            (None, None) => {}
        }
    }
    for table in [Table::Keys, Table::Making] {
        let values = store.all::<u32>(table)?;
        truth.extend(values.into_iter().map(|(name, value)| (format!("{table:?} {name}"), value.to_string())));
    }
    let number = store.engine.read(|transaction| schema::number(&transaction.open_table(META)?, META_INCARNATIONS))?;
    truth.insert("incarnations".to_owned(), number.to_string());
    truth.insert("secret".to_owned(), format!("{:?}", store.host_secret()));
    Ok(truth)
}

fn shown(record: &Record) -> String {
    let entries = serde_json::to_string(&record.document).unwrap_or_default().len();
    format!("{} of {entries} bytes", record.generation)
}

fn all(outcomes: Vec<Result<()>>) -> Result<()> {
    outcomes.into_iter().collect()
}
