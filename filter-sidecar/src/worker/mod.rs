//! Threads that do what needs no waiting: each watches listeners, and the sockets of the connections that have been judged, by an epoll of its
//! own.
//!
//! So nothing of the runtime is spent on a connection that can be judged as soon as it is there, and an idle one holds little more than its
//! two sockets.

mod listening;
mod pair;
mod pairs;
#[cfg(test)]
mod tests;
mod waiting;

use listening::Listener;
pub(crate) use listening::Listening;
use pair::Side;
pub(crate) use pair::{Pair, Socket};
use pairs::Pairs;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;
use waiting::{Inside, Waiting};
pub(crate) use waiting::{Task, more_comes};

/// After so long a server will not answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked for what has taken too long.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// Events that are taken at once.
const EVENTS: usize = 256;

/// All of them.
pub(crate) struct Workers {
    workers: Vec<Arc<Worker>>,
    turn: AtomicUsize,
}

impl Workers {
    /// So many that work side by side, for as long as the process is there. What must wait goes to the runtime.
    pub(crate) fn start(count: usize, runtime: &Handle) -> io::Result<Workers> {
        let workers: Vec<_> = (0..count.max(1)).map(|_| Worker::new().map(Arc::new)).collect::<Result<_, _>>()?;
        for (number, worker) in workers.iter().enumerate() {
            let (worker, runtime) = (worker.clone(), runtime.clone());
            thread::Builder::new().name("worker".to_owned()).spawn(move || worker.run(number, &runtime))?;
        }
        Ok(Workers { workers, turn: AtomicUsize::default() })
    }

    /// Carries for two sockets until both have ended, or one is broken: then the other one hears of it by a reset.
    pub(crate) fn carry(&self, mut pair: Pair) {
        let mut worker = self.next();
        // Who knows the client already has less to do, unless he has more to do than others.
        if let Some(number) = waiting::has_waited_for(pair.end(Side::Client))
            && self.workers[number].pairs.count() <= worker.pairs.count()
        {
            worker = &self.workers[number];
            pair.client_is_known();
        }
        worker.pairs.add(&worker.epoll, pair);
    }

    /// Takes the connections of somebody's listener, for as long as what is returned is held: `take` tells what is to be done about each.
    pub(crate) fn listen(
        &self,
        whose: &str,
        listener: TcpListener,
        take: impl Fn(OwnedFd) -> Task + Send + Sync + 'static,
    ) -> io::Result<Listening> {
        Listening::begin(self.next(), Listener::new(whose, listener, take)?)
    }

    /// Waits until each of them has shown that it is awake.
    pub(crate) fn answer(&self) -> io::Result<()> {
        let (awake, answers) = channel();
        for worker in &self.workers {
            worker.asked.lock().unwrap_or_else(PoisonError::into_inner).push(awake.clone());
            rustix::io::write(&worker.bell, &1_u64.to_ne_bytes())?;
        }
        drop(awake);
        // Each says one word; the last one ends it.
        answers.iter().for_each(drop);
        Ok(())
    }

    fn next(&self) -> &Arc<Worker> {
        &self.workers[self.turn.fetch_add(1, Ordering::Relaxed) % self.workers.len()]
    }
}

struct Worker {
    epoll: OwnedFd,
    pairs: Pairs,
    listeners: Mutex<HashMap<u64, Arc<Listener>>>,
    next_listener: AtomicU64,
    /// Wakes it up to answer who has asked.
    bell: OwnedFd,
    asked: Mutex<Vec<Sender<()>>>,
}

impl Worker {
    fn new() -> io::Result<Worker> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &bell, EventData::new_u64(Number::Bell.word()), EventFlags::IN)?;
        Ok(Worker {
            epoll,
            pairs: Pairs::default(),
            listeners: Mutex::default(),
            next_listener: AtomicU64::default(),
            bell,
            asked: Mutex::default(),
        })
    }

    fn run(&self, number: usize, runtime: &Handle) {
        let _essential = Essential;
        let _entered = runtime.enter();
        let mut inside = Inside { number, turn: 0, epoll: &self.epoll, runtime };
        let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        let (mut left, mut resting, mut waiting) = (Vec::new(), Vec::new(), Waiting::default());
        loop {
            let patience = if !left.is_empty() {
                &AT_ONCE
            } else if !resting.is_empty() {
                &listening::REST
            } else if !waiting.is_empty() {
                &waiting::PATIENCE
            } else {
                &TICK
            };
            // Interrupted by a signal: nothing has happened.
            let happened =
                epoll::wait(&self.epoll, &mut events[..], Some(patience)).map_or(&mut [][..], |(happened, _)| happened);
            inside.turn += 1;
            for number in std::mem::take(&mut left) {
                self.pairs.look(&self.epoll, number, None, &mut left);
            }
            for listener in std::mem::take(&mut resting) {
                self.accept(listener, &inside, &mut waiting, &mut resting);
            }
            for event in happened {
                match Number::of(event.data.u64()) {
                    Number::Bell => self.wake(),
                    Number::Listener(listener) => self.accept(listener, &inside, &mut waiting, &mut resting),
                    Number::Waiting(number) => waiting.look(&inside, number),
                    Number::End(pair, end) => self.pairs.look(&self.epoll, pair, Some((end, event.flags)), &mut left),
                }
            }
            self.pairs.give_up();
            waiting.leave(&inside);
        }
    }

    fn wake(&self) {
        // It has rung, or another one has heard it.
        rustix::io::read(&self.bell, &mut [0; 8]).ok();
        for awake in self.asked.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Who has asked may be gone.
            awake.send(()).ok();
        }
    }

    /// Takes what has come to a listener. One that cannot take any rests for a while.
    fn accept(&self, number: u64, inside: &Inside<'_>, waiting: &mut Waiting, resting: &mut Vec<u64>) {
        let listener = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned();
        let Some(listener) = listener else { return };
        let begin = |task| waiting.go_on(inside, &listener, task, Weak::new());
        if listener.accept(inside, number, begin).is_err() {
            resting.push(number);
        }
    }
}

/// What an event is about, as one word.
enum Number {
    Bell,
    Listener(u64),
    /// A connection that waits for its client.
    Waiting(u64),
    /// A pair, and which of its ends.
    End(u64, usize),
}

impl Number {
    const BELL: u64 = u64::MAX;
    const LISTENER: u64 = 1 << 63;
    const WAITING: u64 = 1 << 62;

    fn of(word: u64) -> Number {
        if word == Number::BELL {
            Number::Bell
        } else if word & Number::LISTENER != 0 {
            Number::Listener(word & !Number::LISTENER)
        } else if word & Number::WAITING != 0 {
            Number::Waiting(word & !Number::WAITING)
        } else {
            Number::End(word >> 1, (word & 1) as usize)
        }
    }

    fn word(&self) -> u64 {
        match self {
            Number::Bell => Number::BELL,
            Number::Listener(listener) => listener | Number::LISTENER,
            Number::Waiting(waiting) => waiting | Number::WAITING,
            Number::End(pair, end) => pair << 1 | *end as u64,
        }
    }
}

/// Something without which the process is of no use: the daemon starts another one.
struct Essential;

impl Drop for Essential {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}
