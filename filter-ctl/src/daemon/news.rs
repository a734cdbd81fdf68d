//! What is told to whoever watches: denials, and what the daemon has mended, marked or found.

use super::denials::Rings;
use super::lifetime::now_ms;
use crate::api::{Denial, DenyEvent, Line, Notice, NoticeKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::broadcast;

/// Lines that a slow watcher may be behind before it misses some.
const BACKLOG: usize = 4_096;

/// Where news is told. Clones are the same.
#[derive(Clone)]
pub(super) struct News {
    lines: broadcast::Sender<Line>,
    /// How often each kind of notice was told, in the order of [`NoticeKind::ALL`].
    counts: Arc<[AtomicU64; NoticeKind::ALL.len()]>,
    /// The last denials of each sandbox.
    rings: Arc<Mutex<Rings>>,
}

impl News {
    pub(super) fn new() -> News {
        News { lines: broadcast::channel(BACKLOG).0, counts: Arc::default(), rings: Arc::new(Mutex::new(Rings::new())) }
    }

    /// Everything that is told from now on.
    pub(super) fn watch(&self) -> broadcast::Receiver<Line> {
        self.lines.subscribe()
    }

    /// Tells of a denial, and keeps it, to be told again. The sandbox, by slot and incarnation, must not end meanwhile.
    pub(super) fn denied(&self, of: (u32, u32), event: DenyEvent) {
        self.rings().add(of, &event);
        // Nobody watching is no error.
        drop(self.lines.send(Line::Denied(event)));
    }

    /// Tells of something else, and counts it; `id` is the sandbox that it is about.
    pub(super) fn tell(&self, kind: NoticeKind, id: Option<&str>, text: impl Into<String>) {
        self.counts[kind as usize].fetch_add(1, Ordering::Relaxed);
        let notice = Notice { time_ms: now_ms(), notice: kind, id: id.map(str::to_owned), text: text.into() };
        drop(self.lines.send(Line::Notice(notice)));
    }

    /// The denials of a sandbox since a moment (milliseconds since 1970) that are kept, and how many of that time are not any more.
    pub(super) fn denials(&self, of: (u32, u32), id: &str, since_ms: u64) -> (Vec<Denial>, u64) {
        self.rings().since(of, id, since_ms)
    }

    /// Bytes that all denials take that are kept.
    pub(super) fn denial_bytes(&self) -> usize {
        self.rings().bytes()
    }

    /// Forgets the denials of a sandbox that has ended.
    pub(super) fn forget(&self, of: (u32, u32)) {
        self.rings().forget(of);
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().expect("no panic under the lock")
    }

    /// How often each kind was told since the daemon has started.
    pub(super) fn counts(&self) -> impl Iterator<Item = (NoticeKind, u64)> {
        NoticeKind::ALL.into_iter().map(|kind| (kind, self.counts[kind as usize].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_counted() {
        let news = News::new();
        let mut watching = news.watch();
        news.tell(NoticeKind::Orphan, None, "found");
        assert!(matches!(watching.try_recv(), Ok(Line::Notice(notice)) if notice.text == "found"));
        let told: Vec<_> = news.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(told, [(NoticeKind::Orphan, 1)]);
        for (at, kind) in NoticeKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }
}
