//! A sandbox: its listeners, the policy in force, and the connections under way.

use crate::carried::{Begun, Meter, Telling};
use crate::denials::{self, Denials};
use crate::dial::Dialler;
use crate::limits::Limits;
use crate::places::Places;
use crate::policy::{Policy, Target};
use crate::protocol::{self, Denied, Word};
use crate::resolve::{Names, Resolver};
use crate::sources::Sources;
use crate::worker::{Listening, Socket, Workers};
use crate::{connection, warm};
use anyhow::{Context, Result};
use filter_core::Reason;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What all sandboxes share.
pub(crate) struct Common {
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) limits: Limits,
    /// What a socket may hold whose buffers grow.
    pub(crate) grown_bytes: u64,
    pub(crate) words: Sender<Word>,
    pub(crate) telling: Telling,
    pub(crate) workers: Workers,
}

/// What the connections of a sandbox share.
pub(crate) struct Shared {
    /// Where it is attached.
    slot: u32,
    /// Its id.
    pub(crate) id: String,
    /// What dials for it.
    pub(crate) dialler: Dialler,
    /// Where its sockets are.
    pub(crate) places: Arc<Places>,
    common: Arc<Common>,
    names: Arc<Names>,
    state: Mutex<State>,
    denials: Mutex<Denials>,
    /// Whether no policy waits to come into force.
    is_settled: watch::Sender<bool>,
}

/// The policy in force, and what goes on under it: nobody is let in by one policy and overlooked by the next.
#[derive(Default)]
struct State {
    policy: Arc<Policy>,
    seats: HashMap<u64, Seat>,
    next: u64,
}

/// A connection under way: for whom, and its two ends.
struct Seat {
    target: Target,
    begun: Begun,
    ends: [Socket; 2],
}

/// A connection's right to go on; it ends with this.
pub(crate) struct Admitted {
    shared: Arc<Shared>,
    number: u64,
    meter: Arc<Meter>,
}

impl Admitted {
    /// Where what the connection carries is counted.
    pub(crate) fn meter(&self) -> Arc<Meter> {
        self.meter.clone()
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let seat = self.shared.state().seats.remove(&self.number);
        let Some(Seat { target, begun, .. }) = seat else { return };
        let Common { telling, words, .. } = &*self.shared.common;
        let ended = |lost| begun.ended(&self.shared.id, &target, &self.meter, lost);
        telling.tell(ended, |word| words.try_send(Word::Carried(word)).is_ok());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    /// Waits while a policy is about to come into force: what is accepted meanwhile may have been let in by it.
    pub(crate) async fn settled(&self) {
        if !*self.is_settled.borrow() {
            // The sender is there as long as this is.
            drop(self.is_settled.subscribe().wait_for(|is_settled| *is_settled).await);
        }
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.state().policy.clone()
    }

    /// Lets a connection go on while policies allow where it goes; `None` when today's does not any more.
    pub(crate) fn admit(self: &Arc<Shared>, target: Target, server: SocketAddr, ends: [Socket; 2]) -> Option<Admitted> {
        let mut state = self.state();
        if !state.policy.allows(&target, server.ip()) {
            return None;
        }
        state.next += 1;
        let number = state.next;
        let begun = Begun::now(server, state.policy.generation);
        state.seats.insert(number, Seat { target, begun, ends });
        Some(Admitted { shared: self.clone(), number, meter: Arc::default() })
    }

    /// Who carries for it.
    pub(crate) fn workers(&self) -> &Workers {
        &self.common.workers
    }

    /// What it may have done.
    pub(crate) fn limits(&self) -> &Limits {
        &self.common.limits
    }

    /// Tells the daemon of a refusal.
    pub(crate) fn denied(self: &Arc<Shared>, reason: Reason, port: u16, name: &str) {
        let noted = self.denials().note(reason, Instant::now());
        let noted = match noted {
            denials::Told::Now => {
                let told = protocol::Told { port, name: name.escape_default().to_string() };
                if self.tell(reason, 1, Some(told)) { denials::Told::WithOthers } else { self.denials().keep(reason) }
            }
            other => other,
        };
        if noted == denials::Told::Later {
            tokio::spawn(self.clone().tell_untold());
        }
    }

    /// Tells by number what was not told, as soon as the daemon keeps up.
    async fn tell_untold(self: Arc<Shared>) {
        loop {
            sleep(denials::SECOND).await;
            let mut untold = self.denials().take_untold();
            untold.retain(|reason, count| !self.tell(*reason, *count, None));
            if untold.is_empty() {
                return;
            }
            self.denials().keep_again(untold);
        }
    }

    /// Says a word to the daemon, if that keeps up.
    fn tell(&self, reason: Reason, count: u64, told: Option<protocol::Told>) -> bool {
        let generation = self.policy().generation;
        let denied = Denied { slot: self.slot, generation, reason: reason.number(), count, told };
        self.common.words.try_send(Word::Denied(denied)).is_ok()
    }

    fn denials(&self) -> MutexGuard<'_, Denials> {
        self.denials.lock().expect("no panic under the lock")
    }

    /// Judges by another policy from now on, and ends what it does not allow.
    fn switch(&self, policy: Policy) {
        let mut state = self.state();
        state.policy = Arc::new(policy);
        let State { policy, seats, .. } = &*state;
        for seat in seats.values().filter(|seat| !policy.allows(&seat.target, seat.begun.server.ip())) {
            seat.ends.iter().for_each(cut);
        }
    }

    fn end(&self) {
        let mut state = self.state();
        state.policy = Arc::default();
        state.seats.values().flat_map(|seat| &seat.ends).for_each(cut);
    }
}

/// Ends a connection at once, by a reset (`connect(2)` to `AF_UNSPEC`).
pub(crate) fn cut(socket: impl AsFd) {
    // One that has ended by itself needs no more.
    rustix::net::connect_unspec(socket).ok();
}

/// A sandbox. When it is dropped, everything ends that it has.
pub(crate) struct Sandbox {
    shared: Arc<Shared>,
    prepared: Option<Policy>,
    /// Keeps the addresses of the policy's names at hand.
    warming: JoinSet<()>,
    /// Nobody is judged before there is a policy: who comes earlier waits.
    waiting: Vec<TcpListener>,
    listening: Vec<Listening>,
    runtime: Handle,
}

impl Sandbox {
    /// Makes ready to take what arrives at a sandbox's listeners, once its first policy is in force.
    pub(crate) fn begin(
        slot: u32,
        id: String,
        listeners: Vec<TcpListener>,
        runtime: &Runtime,
        common: &Arc<Common>,
    ) -> Result<Sandbox> {
        let names = Arc::new(Names::new(common.resolver.clone(), &common.limits));
        let places = Places::new(&common.limits, common.grown_bytes);
        let shared = Arc::new(Shared {
            slot,
            id,
            dialler: Dialler::new(names.clone(), places.clone(), common.sources.clone()),
            places,
            denials: Mutex::new(Denials::new(common.limits.told_per_second)),
            common: common.clone(),
            names,
            state: Mutex::default(),
            is_settled: watch::Sender::new(true),
        });
        let (warming, runtime) = (JoinSet::new(), runtime.handle().clone());
        Ok(Sandbox { shared, prepared: None, warming, waiting: listeners, listening: Vec::new(), runtime })
    }

    /// Keeps a policy beside the one in force.
    pub(crate) fn prepare(&mut self, policy: &protocol::Policy) -> Result<()> {
        self.prepared = Some(Policy::new(policy)?);
        self.shared.is_settled.send_replace(false);
        Ok(())
    }

    /// Switches to what was prepared.
    pub(crate) fn commit(&mut self) -> Result<()> {
        let policy = self.prepared.take().context("nothing is prepared")?;
        self.warming.abort_all();
        self.warming.spawn_on(warm::keep(self.shared.names.clone(), policy.warm.clone()), &self.runtime);
        self.shared.switch(policy);
        self.shared.is_settled.send_replace(true);
        for listener in self.waiting.drain(..) {
            let take = connection::taker(self.shared.clone());
            self.listening.push(self.shared.workers().listen(&self.shared.id, listener, take).context("a listener")?);
        }
        Ok(())
    }

    /// Forgets what was prepared.
    pub(crate) fn forget_prepared(&mut self) {
        self.prepared = None;
        self.shared.is_settled.send_replace(true);
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.shared.end();
    }
}
