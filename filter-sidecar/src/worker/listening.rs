//! Listeners whose connections are taken.

use super::waiting::{Inside, Task};
use super::{Number, Worker};
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{set_tcp_nodelay, set_tcp_quickack};
use rustix::net::{SocketFlags, accept_with};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// How long to wait when there are no descriptors left.
pub(super) const REST: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// That there are none is told no more often than this.
const QUIET: Duration = Duration::from_secs(10);
/// Most connections that are taken before others have their turn.
const AT_ONCE: usize = 64;

/// A listener, and who takes its connections.
pub(super) struct Listener {
    whose: String,
    socket: TcpListener,
    take: Box<dyn Fn(OwnedFd) -> Task + Send + Sync>,
    /// What the runtime does about its connections; that ends with this.
    handed_on: Mutex<JoinSet<()>>,
    /// How many connections are likely to be there when there is one.
    likely: AtomicUsize,
    /// The worker's turn in which it last had one.
    last_turn: AtomicU64,
    /// It is not watched while there are no descriptors left.
    is_resting: AtomicBool,
    /// When that was last told.
    told: Mutex<Option<Instant>>,
}

impl Listener {
    pub(super) fn new(
        whose: &str,
        socket: TcpListener,
        take: impl Fn(OwnedFd) -> Task + Send + Sync + 'static,
    ) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        // Connections inherit this: what is sent on is whole already, and what comes is acknowledged with the answer.
        set_tcp_nodelay(&socket, true)?;
        set_tcp_quickack(&socket, false)?;
        let (whose, take) = (whose.to_owned(), Box::new(take));
        let (likely, last_turn) = (AtomicUsize::new(1), AtomicU64::new(0));
        let (handed_on, is_resting, told) = Default::default();
        Ok(Listener { whose, socket, take, handed_on, likely, last_turn, is_resting, told })
    }

    /// Has the runtime go on with what must wait.
    pub(super) fn hand_on(&self, task: Task, runtime: &Handle) {
        let mut handed_on = self.handed_on.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended hold next to nothing: nobody is woken for them.
        while handed_on.try_join_next().is_some() {}
        handed_on.spawn_on(task, runtime);
    }

    /// Takes connections that are there, and has each begun: as many as are likely to be there, since asking in vain costs the kernel a socket that
    /// it makes and throws away. Where there are more, there is another turn at once, and more are likely then.
    ///
    /// # Errors
    /// When there is no taking any: nothing will be heard of the listener until this is tried again.
    pub(super) fn accept(&self, inside: &Inside<'_>, number: u64, mut begin: impl FnMut(Task)) -> Result<(), Errno> {
        let is_again = self.last_turn.swap(inside.turn, Ordering::Relaxed) + 1 == inside.turn;
        let likely = self.likely.load(Ordering::Relaxed);
        let likely = if is_again { AT_ONCE.min(2 * likely) } else { likely };
        let mut taken = 0;
        while taken < likely {
            let accepted = accept_with(&self.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
            let is_resting = !matches!(accepted, Ok(_) | Err(Errno::AGAIN));
            if self.is_resting.swap(is_resting, Ordering::Relaxed) != is_resting {
                self.watch(inside.epoll, number, if is_resting { EventFlags::empty() } else { EventFlags::IN })?;
                if let Err(error) = &accepted
                    && is_resting
                    && self.may_tell()
                {
                    tracing::warn!(sandbox = self.whose, "connections cannot be taken: {error}");
                }
            }
            match accepted {
                Ok(client) => begin((self.take)(client)),
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error),
            }
            taken += 1;
        }
        self.likely.store(taken.max(1), Ordering::Relaxed);
        Ok(())
    }

    /// Whether it has not been told for a while.
    fn may_tell(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let may = told.is_none_or(|told| told.elapsed() >= QUIET);
        if may {
            *told = Some(Instant::now());
        }
        may
    }

    fn watch(&self, epoll: &OwnedFd, number: u64, flags: EventFlags) -> Result<(), Errno> {
        epoll::modify(epoll, &self.socket, EventData::new_u64(Number::Listener(number).word()), flags)
    }
}

/// A listener's connections are taken for as long as this is held.
pub(crate) struct Listening {
    worker: Arc<Worker>,
    listener: Arc<Listener>,
    number: u64,
}

impl Listening {
    pub(super) fn begin(worker: &Arc<Worker>, listener: Listener) -> io::Result<Listening> {
        let number = worker.next_listener.fetch_add(1, Ordering::Relaxed);
        let listener = Arc::new(listener);
        worker.listeners.lock().unwrap_or_else(PoisonError::into_inner).insert(number, listener.clone());
        let listening = Listening { worker: worker.clone(), listener, number };
        let data = EventData::new_u64(Number::Listener(number).word());
        epoll::add(&worker.epoll, &listening.listener.socket, data, EventFlags::IN)?;
        Ok(listening)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.worker.listeners.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
        // The daemon has the same listener: closing it here does not end that it is watched.
        epoll::delete(&self.worker.epoll, &self.listener.socket).ok();
    }
}
