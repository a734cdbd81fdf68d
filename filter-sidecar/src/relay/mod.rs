//! Carries bytes both ways between sockets, for all connections that need no more judging.
//!
//! They have no task each: one watches the sockets of many by an epoll of its own, which the runtime watches. So an idle connection holds
//! little more than its two sockets.

mod pair;
#[cfg(test)]
mod tests;

use crate::refusal::Refusal;
use crate::stream::readable;
use crate::{farewell, sandbox};
use pair::{Look, Side};
pub(crate) use pair::{Pair, Socket};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventFlags};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};

/// After so long a server will not answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked for those that have not.
const TICK: Duration = Duration::from_millis(500);
/// Events that are taken at once.
const EVENTS: usize = 256;

/// Carries for all sandboxes.
pub(crate) struct Relays {
    relays: Vec<Arc<Relay>>,
    turn: AtomicUsize,
}

impl Relays {
    /// So many that work side by side. Call it in a runtime: it works for them.
    pub(crate) fn new(count: usize) -> io::Result<Relays> {
        let relays: Vec<_> = (0..count.max(1)).map(|_| Relay::new().map(Arc::new)).collect::<Result<_, _>>()?;
        for relay in &relays {
            tokio::spawn(relay.clone().run());
        }
        Ok(Relays { relays, turn: AtomicUsize::default() })
    }

    /// Carries for two sockets until both have ended, or one is broken: then the other one hears of it by a reset.
    pub(crate) fn carry(&self, pair: Pair) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.relays[turn % self.relays.len()].add(pair);
    }
}

struct Relay {
    epoll: AsyncFd<OwnedFd>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pairs: HashMap<u64, Pair>,
    /// A number is given once: an event may come late.
    next: u64,
    /// Those whose server has not answered yet, and when each has begun.
    connecting: VecDeque<(Instant, u64)>,
}

impl Relay {
    fn new() -> io::Result<Relay> {
        let epoll = readable(epoll::create(CreateFlags::CLOEXEC)?)?;
        Ok(Relay { epoll, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    fn add(&self, mut pair: Pair) {
        // What it begins with may be said at once.
        if let Look::Ended(refusal) = pair.begin() {
            return end(pair, refusal);
        }
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        if let Err(error) = pair.watch(&self.epoll, number) {
            tracing::warn!("a connection cannot be watched: {error}");
            drop(state);
            return end(pair, Some(Refusal::Refused));
        }
        if pair.is_connecting() {
            state.connecting.push_back((Instant::now(), number));
        }
        state.pairs.insert(number, pair);
    }

    async fn run(self: Arc<Relay>) {
        let _essential = Essential;
        let mut work = Work::default();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut has_more = false;
        loop {
            tokio::select! {
                biased;
                _ = tick.tick() => self.give_up(),
                // Others have their turn.
                () = yield_now(), if has_more => has_more = self.turn(&mut work),
                ready = self.epoll.readable(), if !has_more => {
                    let mut ready = ready.expect("the runtime is there");
                    has_more = self.turn(&mut work);
                    if !has_more {
                        ready.clear_ready();
                    }
                }
            }
        }
    }

    /// Carries on where something has happened; tells whether there is more to do.
    fn turn(&self, work: &mut Work) -> bool {
        let is_all = self.happened(&mut work.events);
        let again = std::mem::take(&mut work.again);
        let begun = work.events.drain(..).map(|(end, flags)| (end >> 1, Some((end & 1, flags))));
        for (number, event) in begun.chain(again.into_iter().map(|number| (number, None))) {
            if !self.look(number, event) {
                work.again.push(number);
            }
        }
        !is_all || !work.again.is_empty()
    }

    /// Takes what has happened, and at which ends; tells whether that was all.
    fn happened(&self, into: &mut Vec<(u64, EventFlags)>) -> bool {
        let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Interrupted by a signal: once more.
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut events[..], Some(&at_once)) else { return false };
        into.extend(events.iter().map(|event| (event.data.u64(), event.flags)));
        events.len() < EVENTS
    }

    /// Carries on with a pair, after an event at one of its ends or where it was left; tells whether all was done.
    fn look(&self, number: u64, event: Option<(u64, EventFlags)>) -> bool {
        let mut state = self.state();
        let Some(pair) = state.pairs.get_mut(&number) else { return true };
        let seen = match event {
            Some((0, flags)) => pair.look(Side::Client, flags),
            Some((_, flags)) => pair.look(Side::Server, flags),
            None => pair.both(),
        };
        let seen = if pair.watch(&self.epoll, number).is_ok() { seen } else { Look::Ended(Some(Refusal::Refused)) };
        match seen {
            Look::Done => true,
            Look::More => false,
            Look::Ended(refusal) => {
                let pair = state.pairs.remove(&number);
                drop(state);
                pair.into_iter().for_each(|pair| end(pair, refusal));
                true
            }
        }
    }

    /// Ends those whose server will not answer.
    fn give_up(&self) {
        let mut late = Vec::new();
        let mut state = self.state();
        while let Some((begun, number)) = state.connecting.front().copied() {
            let is_connecting = state.pairs.get(&number).is_some_and(Pair::is_connecting);
            if is_connecting && begun.elapsed() < PATIENCE {
                break;
            }
            state.connecting.pop_front();
            if is_connecting {
                late.extend(state.pairs.remove(&number));
            }
        }
        drop(state);
        late.into_iter().for_each(|pair| end(pair, Some(Refusal::Unreachable)));
    }
}

/// What there is to do.
#[derive(Default)]
struct Work {
    /// What has happened at which ends.
    events: Vec<(u64, EventFlags)>,
    /// Pairs that have had their turn, and have more.
    again: Vec<u64>,
}

/// Ends a pair: by closing both, or as its client is told of a server that cannot be reached.
fn end(pair: Pair, refusal: Option<Refusal>) {
    match refusal {
        None => {}
        Some(Refusal::Refused) => [Side::Client, Side::Server].iter().for_each(|side| sandbox::cut(pair.end(*side))),
        Some(_) => {
            if let Some((client, words)) = pair.last_words() {
                tokio::spawn(farewell::say(client, words));
            }
        }
    }
}

/// Something without which the process is of no use: the daemon starts another one.
struct Essential;

impl Drop for Essential {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
