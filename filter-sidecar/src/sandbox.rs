//! A sandbox: its listeners, the policy in force, and the connections under way.

use crate::connection;
use crate::dial::Dialler;
use crate::protocol::{self, Denied, Word};
use anyhow::{Context, Result};
use filter_core::Reason;
use filter_policy::NameList;
use filter_policy::names::{Name, NamePattern};
use ipnet::IpNet;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

/// The names that a policy allows, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    /// Its generation.
    pub(crate) generation: u32,
    names: NameList,
    /// Protected ranges that a name may lead to.
    pub(crate) opened: Vec<IpNet>,
}

impl Policy {
    fn new(policy: &protocol::Policy) -> Result<Policy> {
        let read = |text: &String| NamePattern::parse(text).with_context(|| format!("{text:?} is no name"));
        let patterns: Vec<NamePattern> = policy.names.iter().map(read).collect::<Result<_>>()?;
        Ok(Policy {
            generation: policy.generation,
            names: NameList::new((0..).zip(&patterns)),
            opened: policy.opened.clone(),
        })
    }

    /// Whether a name may be reached.
    pub(crate) fn allows(&self, name: &Name) -> bool {
        self.names.find(name).is_some()
    }
}

/// What the connections of a sandbox share.
pub(crate) struct Shared {
    /// Where it is attached.
    slot: u32,
    /// Its id.
    pub(crate) id: String,
    /// What dials for it.
    pub(crate) dialler: Arc<Dialler>,
    state: Mutex<State>,
    words: Sender<Word>,
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
    name: Name,
    ends: [Arc<TcpStream>; 2],
}

/// A connection's right to go on; it ends with this.
pub(crate) struct Admitted {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.state().seats.remove(&self.number);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.state().policy.clone()
    }

    /// Lets a connection go on while policies allow its name; `None` when today's does not any more.
    pub(crate) fn admit(self: &Arc<Shared>, name: &Name, ends: [Arc<TcpStream>; 2]) -> Option<Admitted> {
        let mut state = self.state();
        if !state.policy.allows(name) {
            return None;
        }
        state.next += 1;
        let number = state.next;
        state.seats.insert(number, Seat { name: name.clone(), ends });
        Some(Admitted { shared: self.clone(), number })
    }

    /// Tells the daemon of a refusal, if it keeps up.
    pub(crate) fn denied(&self, reason: Reason, port: u16, name: &str) {
        let generation = self.policy().generation;
        let name = name.escape_default().to_string();
        let denied = Denied { slot: self.slot, generation, reason: reason.number(), port, name };
        // What is lost is counted by the kernel.
        drop(self.words.try_send(Word::Denied(denied)));
    }

    /// Judges by another policy from now on, and ends what it does not allow.
    fn switch(&self, policy: Policy) {
        let mut state = self.state();
        state.policy = Arc::new(policy);
        let State { policy, seats, .. } = &*state;
        for seat in seats.values().filter(|seat| !policy.allows(&seat.name)) {
            seat.ends.iter().for_each(|end| cut(end));
        }
    }

    fn end(&self) {
        let mut state = self.state();
        state.policy = Arc::default();
        state.seats.values().flat_map(|seat| &seat.ends).for_each(|end| cut(end));
    }
}

/// Ends a connection at once, by a reset (`connect(2)` to `AF_UNSPEC`).
pub(crate) fn cut(stream: &TcpStream) {
    // One that has ended by itself needs no more.
    rustix::net::connect_unspec(stream).ok();
}

/// A sandbox. When it is dropped, everything ends that it has.
pub(crate) struct Sandbox {
    shared: Arc<Shared>,
    prepared: Option<Policy>,
    _accepting: JoinSet<()>,
}

impl Sandbox {
    /// Takes what arrives at a sandbox's listeners; there is no name that it may reach yet.
    pub(crate) fn begin(
        slot: u32,
        id: String,
        listeners: Vec<std::net::TcpListener>,
        runtime: &Runtime,
        dialler: &Arc<Dialler>,
        words: &Sender<Word>,
    ) -> Result<Sandbox> {
        let shared =
            Arc::new(Shared { slot, id, dialler: dialler.clone(), state: Mutex::default(), words: words.clone() });
        let mut accepting = JoinSet::new();
        let _inside = runtime.enter();
        for listener in listeners {
            listener.set_nonblocking(true).context("a listener")?;
            let listener = TcpListener::from_std(listener).context("a listener")?;
            accepting.spawn_on(connection::accept(listener, shared.clone()), runtime.handle());
        }
        Ok(Sandbox { shared, prepared: None, _accepting: accepting })
    }

    /// Keeps a policy beside the one in force.
    pub(crate) fn prepare(&mut self, policy: &protocol::Policy) -> Result<()> {
        self.prepared = Some(Policy::new(policy)?);
        Ok(())
    }

    /// Switches to what was prepared.
    pub(crate) fn commit(&mut self) -> Result<()> {
        self.shared.switch(self.prepared.take().context("nothing is prepared")?);
        Ok(())
    }

    /// Forgets what was prepared.
    pub(crate) fn forget_prepared(&mut self) {
        self.prepared = None;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.shared.end();
    }
}
