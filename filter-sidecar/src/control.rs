//! The daemon's orders.

use crate::carried::Telling;
use crate::protocol::{self, Order, Word};
use crate::resolve::Resolver;
use crate::sandbox::{Common, Sandbox};
use crate::sources::Sources;
use crate::worker::Workers;
use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Sender, channel};

/// Words that wait to be said; refusals beyond are told by number, later.
const BACKLOG: usize = 1_024;

/// Carries out the daemon's orders until it goes.
///
/// # Errors
/// When what it says cannot be understood, or the process lacks what it needs.
pub fn run(control: UnixStream) -> Result<()> {
    let runtime = Runtime::new().context("cannot start")?;
    let (words, mut to_say) = channel::<Word>(BACKLOG);
    let answering = control.try_clone().context("cannot share the control socket")?;
    std::thread::spawn(move || {
        while let Some(word) = to_say.blocking_recv() {
            if protocol::send(&answering, &word, &[]).is_err() {
                return;
            }
        }
    });
    let mut sidecar = Sidecar { sandboxes: HashMap::new(), common: None, runtime, words: words.clone() };
    while let Some((order, descriptors)) = protocol::receive(&control).context("the daemon cannot be understood")? {
        let done = sidecar.carry_out(order, descriptors);
        let word = done.map_or_else(|error| Word::Failed { reason: format!("{error:#}") }, |()| Word::Done);
        words.blocking_send(word).context("the daemon does not listen")?;
    }
    Ok(())
}

struct Sidecar {
    sandboxes: HashMap<u32, Sandbox>,
    common: Option<Arc<Common>>,
    runtime: Runtime,
    words: Sender<Word>,
}

impl Sidecar {
    fn carry_out(&mut self, order: Order, descriptors: Vec<OwnedFd>) -> Result<()> {
        match order {
            Order::Start { resolvers, sources, limits, grown_bytes, tells_connections } => {
                let common = Common {
                    resolver: Arc::new(Resolver::new(&resolvers, &self.runtime)?),
                    sources: Arc::new(Sources::new(&sources)),
                    limits,
                    grown_bytes,
                    telling: Telling::new(tells_connections),
                    words: self.words.clone(),
                    workers: Workers::start(self.runtime.metrics().num_workers(), self.runtime.handle())
                        .context("cannot start")?,
                };
                self.common = Some(Arc::new(common));
            }
            Order::Configure { resolvers, sources, tells_connections } => {
                let common = self.common.as_ref().context("it has not been told how to start")?;
                common.resolver.replace(Resolver::new(&resolvers, &self.runtime)?);
                common.sources.replace(&sources);
                common.telling.set(tells_connections);
            }
            // Who carries connections is asked as well.
            Order::Beat => {
                self.runtime.block_on(self.runtime.spawn(async {})).context("nothing is carried any more")?;
                if let Some(common) = &self.common {
                    common.workers.answer().context("nothing is carried any more")?;
                }
            }
            Order::Begin { slot, id } => {
                ensure!(descriptors.len() == 2, "its listeners did not arrive: there are no descriptors left");
                let common = self.common.as_ref().context("it has not been told how to start")?;
                let listeners: Vec<TcpListener> = descriptors.into_iter().map(TcpListener::from).collect();
                let sandbox = Sandbox::begin(slot, id, listeners, &self.runtime, common)?;
                // One of an earlier attachment ends here.
                self.sandboxes.insert(slot, sandbox);
            }
            Order::Prepare { slot, policy } => self.sandbox(slot)?.prepare(&policy)?,
            Order::Commit { slot } => self.sandbox(slot)?.commit()?,
            Order::Drop { slot } => self.sandbox(slot)?.forget_prepared(),
            Order::End { slot } => drop(self.sandboxes.remove(&slot)),
        }
        Ok(())
    }

    fn sandbox(&mut self, slot: u32) -> Result<&mut Sandbox> {
        self.sandboxes.get_mut(&slot).with_context(|| format!("nothing is known of slot {slot}"))
    }
}
