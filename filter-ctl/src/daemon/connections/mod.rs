//! The log of connections: a line of JSON about each that was allowed and has ended. None unless the configuration names a file.
//!
//! Nobody waits for the disk: a line for which there is no room is lost, and the next one that is written says how many were.

mod direct;
mod journal;

use super::lifetime::now_ms;
use crate::daemon::config::ConnectionsConfig;
use anyhow::Context;
pub(super) use direct::watch;
use filter_sidecar::protocol::Carried;
pub(super) use journal::Journal;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Lines that may wait for the disk.
const BACKLOG: usize = 4_096;
/// Sandboxes that may end between two looks and are told apart.
const ENDED: usize = 16_384;
/// Lines that are written at once.
const BATCH: usize = 512;

/// A connection that has ended, as it is written.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Connection {
    /// When it ended, in milliseconds since 1970.
    pub(super) time_ms: u64,
    /// The sandbox.
    pub(super) id: String,
    /// Who carried it.
    pub(super) by: By,
    /// `tcp` or `udp`.
    pub(super) protocol: &'static str,
    /// The name that it was for, where that let it in.
    pub(super) name: Option<String>,
    /// The server's address.
    pub(super) address: IpAddr,
    /// The server's port.
    pub(super) port: u16,
    /// Bytes to the server, as [`By`] says.
    pub(super) sent_bytes: u64,
    /// Bytes from the server.
    pub(super) received_bytes: u64,
    /// The generation of the policy that let it in.
    pub(super) generation: u32,
    /// From its first packet to its last.
    pub(super) duration_ms: u64,
}

/// Who carried a connection.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum By {
    /// The sidecar; bytes are what both ends said.
    Sidecar,
    /// The kernel; bytes are those of frames.
    Kernel,
}

/// Where connections are told. Clones are the same.
#[derive(Clone)]
pub(super) struct Log {
    items: SyncSender<Item>,
    counts: Arc<Counts>,
    /// Sandboxes that have ended lately, by slot and incarnation: the kernel may still tell of their connections.
    ended: Arc<Mutex<Vec<(Of, String)>>>,
}

/// Slot and incarnation.
type Of = (u32, u32);

enum Item {
    Line(Connection),
    /// Lines go here from now on; nowhere without one.
    Journal(Option<Journal>),
}

/// Lines since the daemon has started.
#[derive(Default)]
struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
    /// Of those that were lost, those that no line tells of yet.
    untold: AtomicU64,
}

impl Counts {
    fn lose(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
        self.untold.fetch_add(count, Ordering::Relaxed);
    }
}

/// Opens the journal of a configuration, if it has one.
///
/// # Errors
/// When the file cannot be opened.
pub(super) fn open(config: Option<&ConnectionsConfig>) -> anyhow::Result<Option<Journal>> {
    let open = |ConnectionsConfig { file, max_bytes }: &ConnectionsConfig| {
        Journal::open(file, *max_bytes).with_context(|| {
            format!("connections: cannot write {}: choose a file in a directory that is there", file.display())
        })
    };
    config.map(open).transpose()
}

impl Log {
    /// Starts what writes; into `journal` at first.
    pub(super) fn start(journal: Option<Journal>) -> anyhow::Result<Log> {
        let (items, to_write) = sync_channel(BACKLOG);
        let counts = Arc::<Counts>::default();
        let counting = counts.clone();
        let write = move || write(&to_write, journal, &counting);
        thread::Builder::new().name("connections".to_owned()).spawn(write).context("cannot start a thread")?;
        Ok(Log { items, counts, ended: Arc::default() })
    }

    /// Has lines go elsewhere from now on; nowhere without a journal.
    pub(super) fn replace(&self, journal: Option<Journal>) {
        // What waits before it is written; the thread lives as long as this.
        drop(self.items.send(Item::Journal(journal)));
    }

    /// Takes note that a sandbox has ended.
    pub(super) fn ends(&self, of: Of, id: &str) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() < ENDED {
            ended.push((of, id.to_owned()));
        }
    }

    /// Sandboxes that have ended since this was asked last.
    fn take_ended(&self) -> Vec<(Of, String)> {
        std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells of a connection.
    pub(super) fn tell(&self, connection: Connection) {
        if self.items.try_send(Item::Line(connection)).is_err() {
            self.lose(1);
        }
    }

    /// Tells that so many connections could not be told.
    fn lose(&self, count: u64) {
        self.counts.lose(count);
    }

    /// Tells of a connection that the sidecar carried.
    pub(super) fn carried(&self, carried: Carried) {
        let Carried { id, name, server, sent, received, generation, began_ms, lasted_ms, lost } = carried;
        if lost > 0 {
            self.lose(lost);
        }
        self.tell(Connection {
            time_ms: began_ms.saturating_add(lasted_ms),
            id,
            by: By::Sidecar,
            protocol: "tcp",
            name,
            address: server.ip(),
            port: server.port(),
            sent_bytes: sent,
            received_bytes: received,
            generation,
            duration_ms: lasted_ms,
        });
    }

    /// How many lines were written, and how many lost, since the daemon has started.
    pub(super) fn counts(&self) -> [(&'static str, u64); 2] {
        let Counts { written, lost, .. } = &*self.counts;
        [("written", written.load(Ordering::Relaxed)), ("lost", lost.load(Ordering::Relaxed))]
    }
}

/// Lines that were lost, as that is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Lost {
    time_ms: u64,
    lost: u64,
}

/// Writes what it is told until nobody tells any more.
fn write(items: &Receiver<Item>, mut journal: Option<Journal>, counts: &Counts) {
    let mut fails = false;
    while let Ok(first) = items.recv() {
        let mut lines = Vec::new();
        let mut next = None;
        for item in std::iter::once(first).chain(items.try_iter()).take(BATCH) {
            match item {
                Item::Line(line) => lines.push(line),
                Item::Journal(journal) => {
                    next = Some(journal);
                    break;
                }
            }
        }
        if let Some(journal) = &mut journal
            && !lines.is_empty()
        {
            let appended = append(journal, &lines, counts);
            match &appended {
                Ok(()) if fails => tracing::info!("the log of connections is written again"),
                Err(error) if !fails => {
                    tracing::error!("the log of connections cannot be written, its lines are lost: {error:#}");
                }
                _ => {}
            }
            fails = appended.is_err();
        }
        if let Some(next) = next {
            journal = next;
        }
    }
}

/// Adds lines, and before them how many were lost.
fn append(journal: &mut Journal, lines: &[Connection], counts: &Counts) -> anyhow::Result<()> {
    let untold = counts.untold.swap(0, Ordering::Relaxed);
    let mut text = Vec::new();
    if untold > 0 {
        line(&mut text, &Lost { time_ms: now_ms(), lost: untold })?;
    }
    lines.iter().try_for_each(|connection| line(&mut text, connection))?;
    let count = lines.len() as u64;
    match journal.append(&text) {
        Ok(()) => {
            counts.written.fetch_add(count, Ordering::Relaxed);
            Ok(())
        }
        Err(error) => {
            counts.untold.fetch_add(untold, Ordering::Relaxed);
            counts.lose(count);
            Err(error)
        }
    }
}

fn line(text: &mut Vec<u8>, value: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *text, value)?;
    text.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests;
