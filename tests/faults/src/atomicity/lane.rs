//! A sender and its receiver, and how far each is.

use anyhow::{Context, Result};
use rustix::process::setpriority_process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Datagrams of one lane that may be under way. Fewer than a CPU's backlog takes (`net.core.netdev_max_backlog`, 1,000), which is
/// all that queues between two devices of a pair, and far fewer than a receiver's buffer: whatever is lost, the filter has lost.
const WINDOW: u64 = 512;

/// Records that may wait to be read: a quarter of the ring.
const UNREAD: u64 = 1 << 18;

/// After so long a sender goes on although nothing arrives: then something is lost, and how much is to be seen.
const PATIENCE: Duration = Duration::from_secs(1);

/// Priority of a lane's threads, as `nice` counts.
const NICE: i32 = 10;

/// How often a sender looks whether there is room at the latest.
const LOOK: Duration = Duration::from_millis(1);

/// What a sender, its receiver and those who watch them share.
pub(crate) struct Lane {
    /// Where the sender runs.
    pub(crate) cpu: usize,
    /// Both ends' port.
    pub(crate) port: u16,
    sent: AtomicU64,
    delivered: AtomicU64,
    stalls: AtomicU64,
    gaps: AtomicU64,
    closed: AtomicBool,
    ended: AtomicBool,
    backlog: Arc<Backlog>,
    sender: OnceLock<Thread>,
}

/// How far the reader of records is behind all senders.
#[derive(Default)]
pub(crate) struct Backlog {
    sent: AtomicU64,
    read: AtomicU64,
}

impl Lane {
    pub(crate) fn new(cpu: usize, port: u16, backlog: Arc<Backlog>) -> Lane {
        Lane {
            cpu,
            port,
            sent: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            backlog,
            sender: OnceLock::new(),
        }
    }

    /// Puts the calling thread behind the kernel's own, which a grace period waits for, and behind who changes the policy.
    /// The load is as full: whatever is left of the machine is the lanes'.
    pub(crate) fn give_way() -> Result<()> {
        setpriority_process(None, NICE).context("cannot be nice")
    }

    /// Waits until the sender may send `more` behind `position`; `false` when it is to end.
    pub(crate) fn has_room(&self, position: u64, more: u64) -> bool {
        self.sender.get_or_init(thread::current);
        let since = Instant::now();
        while !self.closed.load(Ordering::Relaxed) {
            let full = position + more > self.delivered() + WINDOW;
            let lost = full && since.elapsed() > PATIENCE;
            if (lost || !full) && self.backlog.unread() < UNREAD {
                self.stalls.fetch_add(u64::from(lost), Ordering::Relaxed);
                return true;
            }
            // Woken by what arrives; the reader of records wakes nobody.
            thread::park_timeout(LOOK);
        }
        false
    }

    pub(crate) fn sent_to(&self, position: u64) {
        let before = self.sent.swap(position, Ordering::Relaxed);
        self.backlog.sent.fetch_add(position - before, Ordering::Relaxed);
    }

    /// All before this position have been judged: it is behind one that has arrived, and a lane keeps its order.
    pub(crate) fn delivered_to(&self, position: u64) {
        self.delivered.fetch_max(position, Ordering::Release);
        if let Some(sender) = self.sender.get() {
            sender.unpark();
        }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Acquire)
    }

    /// How often the sender went on although nothing had arrived for long.
    pub(crate) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    /// Something that both policies allow is missing.
    pub(crate) fn gap(&self) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    /// Tells the sender to end.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Tells the receiver that nothing more comes.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Backlog {
    /// The reader has read the records of so many datagrams.
    pub(crate) fn read_to(&self, count: u64) {
        self.read.store(count, Ordering::Relaxed);
    }

    /// No records are read.
    pub(crate) fn without_reader(&self) {
        self.read_to(u64::MAX);
    }

    fn unread(&self) -> u64 {
        self.sent.load(Ordering::Relaxed).saturating_sub(self.read.load(Ordering::Relaxed))
    }
}
