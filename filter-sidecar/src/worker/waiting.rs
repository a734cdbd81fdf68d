//! Connections whose client has not said enough yet, and is about to: a hello mostly comes a moment after its connection, or in two packets.
//! They wait where they were accepted, for that moment; who is slower is waited for by the runtime.

use super::Number;
use super::listening::Listener;
use super::pair::Socket;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How long a worker waits for a client.
const MOMENT: Duration = Duration::from_millis(20);
/// The same for epoll.
pub(super) const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: MOMENT.subsec_nanos() as i64 };

/// What is done about a connection, from its beginning until it is carried or has ended.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    static POLLED: RefCell<Polled> = const { RefCell::new(Polled::Elsewhere) };
}

/// Who polls a task on this thread, and what he has learned.
enum Polled {
    /// No worker does.
    Elsewhere,
    /// A worker does; perhaps he has waited for the client before.
    Here(usize, Weak<OwnedFd>),
    /// A worker does, and the task goes on once there is something to read.
    Awaits(Arc<OwnedFd>),
}

/// Waits until there is something to read. `false` where it is the runtime that must wait: then nothing was waited for.
pub(crate) async fn more_comes(client: &Arc<OwnedFd>) -> bool {
    let mut has_waited = false;
    poll_fn(|_| {
        POLLED.with_borrow_mut(|polled| match polled {
            Polled::Elsewhere => Poll::Ready(false),
            _ if has_waited => Poll::Ready(true),
            _ => {
                has_waited = true;
                *polled = Polled::Awaits(client.clone());
                Poll::Pending
            }
        })
    })
    .await
}

/// The number of the worker that polls on this thread, if he has waited for this client: his epoll knows the socket.
pub(super) fn has_waited_for(client: &Socket) -> Option<usize> {
    POLLED.with_borrow(|polled| match polled {
        Polled::Here(worker, known) if ptr::addr_eq(known.as_ptr(), Arc::as_ptr(client)) => Some(*worker),
        _ => None,
    })
}

/// What a worker works with.
pub(super) struct Inside<'a> {
    /// Which one he is.
    pub(super) number: usize,
    /// How often his epoll has told him something.
    pub(super) turn: u64,
    pub(super) epoll: &'a OwnedFd,
    pub(super) runtime: &'a Handle,
}

/// Those of a worker.
#[derive(Default)]
pub(super) struct Waiting {
    tasks: HashMap<u64, Waits>,
    /// Since when each has waited.
    since: VecDeque<(Instant, u64)>,
    /// A number is given once: an event may come late.
    next: u64,
}

struct Waits {
    client: Arc<OwnedFd>,
    task: Task,
    /// Whose listener it came to; when that is let go of, the connection ends.
    listener: Weak<Listener>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.since.is_empty()
    }

    /// Goes on with a task as far as that needs no waiting. One that waits for its client is kept; one that waits for something else goes to
    /// the runtime.
    pub(super) fn go_on(
        &mut self,
        inside: &Inside<'_>,
        listener: &Arc<Listener>,
        mut task: Task,
        known: Weak<OwnedFd>,
    ) {
        let is_known = |client: &Arc<OwnedFd>| ptr::addr_eq(known.as_ptr(), Arc::as_ptr(client));
        POLLED.set(Polled::Here(inside.number, known.clone()));
        // Whatever goes wrong with one, others are taken.
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut Context::from_waker(Waker::noop()))));
        let waits = POLLED.replace(Polled::Elsewhere);
        if !matches!(polled, Ok(Poll::Pending)) {
            return;
        }
        let Polled::Awaits(client) = waits else { return listener.hand_on(task, inside.runtime) };
        self.next += 1;
        let data = EventData::new_u64(Number::Waiting(self.next).word());
        // Once: until somebody watches it for something else, nothing more is to be heard of it.
        let wanted = EventFlags::IN | EventFlags::RDHUP | EventFlags::ONESHOT;
        let watch = if is_known(&client) { epoll::modify } else { epoll::add };
        if watch(inside.epoll, &client, data, wanted).is_err() {
            drop(client);
            return listener.hand_on(task, inside.runtime);
        }
        self.tasks.insert(self.next, Waits { client, task, listener: Arc::downgrade(listener) });
        self.since.push_back((Instant::now(), self.next));
    }

    /// Goes on with one whose client has said something.
    pub(super) fn look(&mut self, inside: &Inside<'_>, number: u64) {
        let Some(Waits { client, task, listener }) = self.tasks.remove(&number) else { return };
        let known = Arc::downgrade(&client);
        // The task may want to have it for itself.
        drop(client);
        if let Some(listener) = listener.upgrade() {
            self.go_on(inside, &listener, task, known);
        }
    }

    /// Leaves to the runtime who is slower.
    pub(super) fn leave(&mut self, inside: &Inside<'_>) {
        while let Some((since, number)) = self.since.front().copied() {
            if self.tasks.contains_key(&number) && since.elapsed() < MOMENT {
                break;
            }
            self.since.pop_front();
            let Some(Waits { client, task, listener }) = self.tasks.remove(&number) else { continue };
            // It was added: it is the runtime that watches it from now on.
            epoll::delete(inside.epoll, &client).ok();
            drop(client);
            if let Some(listener) = listener.upgrade() {
                listener.hand_on(task, inside.runtime);
            }
        }
    }
}
