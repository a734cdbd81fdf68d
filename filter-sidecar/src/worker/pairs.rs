//! The pairs that a worker carries for.

use super::PATIENCE;
use super::pair::{Look, Pair, Side};
use crate::refusal::Refusal;
use crate::{farewell, sandbox};
use rustix::event::epoll::EventFlags;
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// All of them.
#[derive(Default)]
pub(super) struct Pairs(Mutex<State>);

#[derive(Default)]
struct State {
    pairs: HashMap<u64, Pair>,
    /// A number is given once: an event may come late.
    next: u64,
    /// Those whose server has not answered yet, and when each has begun.
    connecting: VecDeque<(Instant, u64)>,
}

impl Pairs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic under the lock")
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.state().pairs.len()
    }

    /// Carries for a pair from now on.
    pub(super) fn add(&self, epoll: &OwnedFd, mut pair: Pair) {
        // What it begins with may be said at once.
        if let Look::Ended(refusal) = pair.begin() {
            return end(pair, refusal);
        }
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        if let Err(error) = pair.watch(epoll, number) {
            drop(state);
            tracing::warn!("a connection cannot be watched: {error}");
            return end(pair, Some(Refusal::Refused));
        }
        if pair.is_connecting() {
            state.connecting.push_back((Instant::now(), number));
        }
        state.pairs.insert(number, pair);
    }

    /// Carries on with a pair, after an event at one of its ends or where it was left. One that has more to do is `left`.
    pub(super) fn look(&self, epoll: &OwnedFd, number: u64, event: Option<(usize, EventFlags)>, left: &mut Vec<u64>) {
        let mut state = self.state();
        let Some(pair) = state.pairs.get_mut(&number) else { return };
        let seen = match event {
            Some((0, flags)) => pair.look(Side::Client, flags),
            Some((_, flags)) => pair.look(Side::Server, flags),
            None => pair.both(),
        };
        let seen = if pair.watch(epoll, number).is_ok() { seen } else { Look::Ended(Some(Refusal::Refused)) };
        match seen {
            Look::Done => {}
            Look::More => left.push(number),
            Look::Ended(refusal) => {
                let pair = state.pairs.remove(&number);
                drop(state);
                pair.into_iter().for_each(|pair| end(pair, refusal));
            }
        }
    }

    /// Ends those whose server will not answer.
    pub(super) fn give_up(&self) {
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
