//! The sidecar's process: started when the first policy has names, and again whenever it ends.
//!
//! It has the listeners: while there is none, the kernel finds none, and denies what only a name could allow.

use super::config::Config;
use anyhow::{Context, Result, bail};
use filter_dataplane::{Dataplane, Dials, Place};
use filter_policy::{Attach, NetnsRef, Sandbox};
use filter_sidecar::protocol::{self, Denied, Order, Policy, Word};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;
use tokio::sync::broadcast;

/// Name of the program, beside the daemon's.
const PROGRAM: &str = "filter-sidecar";
/// After so long the sidecar hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// The user and the group that have nothing.
const NOBODY: u32 = 65_534;
/// Refusals that a slow watcher may be behind.
const BACKLOG: usize = 1_024;

/// The sidecar.
pub(super) struct Sidecar {
    running: Option<Running>,
    /// One has ended, and what it had nobody has yet.
    lost: bool,
    denied: broadcast::Sender<Denied>,
}

/// A sandbox whose connections it is to judge.
pub(super) struct Judged<'a> {
    /// Where it is attached.
    pub place: Place,
    /// The bridge that its device is a port of.
    pub bridge: Option<u32>,
    /// Its document.
    pub sandbox: &'a Sandbox,
    /// The generation of its policy.
    pub generation: u32,
}

struct Running {
    child: Child,
    control: UnixStream,
    answers: Receiver<Word>,
    /// Slots that it has listeners of, and the device that these are bound to.
    slots: BTreeMap<u32, u32>,
    /// It did not answer: answers and orders do not belong together any more.
    hangs: bool,
}

impl Sidecar {
    /// None that runs yet.
    pub(super) fn new() -> Sidecar {
        Sidecar { running: None, lost: false, denied: broadcast::channel(BACKLOG).0 }
    }

    /// The refusals that it tells of.
    pub(super) fn denied(&self) -> broadcast::Receiver<Denied> {
        self.denied.subscribe()
    }

    /// Whether it has anything of a slot.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.running.as_ref().is_some_and(|running| running.slots.contains_key(&slot))
    }

    /// Gives it the names of a sandbox's policy, which it is to judge by from [`Self::commit`] on.
    ///
    /// # Errors
    /// When it cannot be started, does not answer, or the listeners cannot be opened.
    pub(super) fn prepare(&mut self, dataplane: &mut Dataplane, config: &Config, judged: &Judged<'_>) -> Result<()> {
        self.notice_end();
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(Running::start(dataplane, config, self.denied.clone())?),
        };
        let prepared = running.prepare(dataplane, config, judged);
        self.unless_hung(prepared)
    }

    /// Lets it judge by what was prepared; connections that this does not allow have ended then. One that does not is ended: it would go on
    /// by the older policy.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub(super) fn commit(&mut self, slot: u32) -> Result<()> {
        let committed = self.order(slot, &Order::Commit { slot });
        if committed.is_err() {
            self.lose();
        }
        committed
    }

    /// Lets it forget what was prepared.
    pub(super) fn forget(&mut self, slot: u32) {
        if let Err(error) = self.order(slot, &Order::Drop { slot }) {
            tracing::warn!("the sidecar: {error:#}");
        }
    }

    /// Lets it end all that a slot has.
    pub(super) fn end(&mut self, slot: u32) {
        if let Err(error) = self.order(slot, &Order::End { slot }) {
            tracing::warn!("the sidecar: {error:#}");
        }
        if let Some(running) = &mut self.running {
            running.slots.remove(&slot);
        }
    }

    /// Whether one has ended, and a new one needs what it had. Says so once.
    pub(super) fn has_ended(&mut self) -> bool {
        self.notice_end();
        std::mem::take(&mut self.lost)
    }

    fn notice_end(&mut self) {
        if self.running.as_mut().is_some_and(|running| !matches!(running.child.try_wait(), Ok(None))) {
            tracing::error!("the sidecar has ended");
            self.lose();
        }
    }

    fn lose(&mut self) {
        (self.running, self.lost) = (None, true);
    }

    fn order(&mut self, slot: u32, order: &Order) -> Result<()> {
        let Some(running) = self.running.as_mut().filter(|running| running.slots.contains_key(&slot)) else {
            return Ok(());
        };
        let carried_out = running.order(order, &[]);
        self.unless_hung(carried_out)
    }

    /// One that does not answer is ended: its listeners go with it, and a new one is started.
    fn unless_hung(&mut self, outcome: Result<()>) -> Result<()> {
        if outcome.is_err() && self.running.as_ref().is_some_and(|running| running.hangs) {
            self.lose();
        }
        outcome
    }
}

impl Running {
    fn start(dataplane: &mut Dataplane, config: &Config, denied: broadcast::Sender<Denied>) -> Result<Running> {
        let resolvers = resolvers(config)?;
        let opened = &config.operator.open_ranges;
        let guarded = dataplane.guard(&Dials { resolvers: &resolvers, opened, marks: config.marks.into() });
        guarded.context("the sidecar cannot be kept from what is protected")?;
        let program = env::current_exe().context("the daemon's own program is not known")?.with_file_name(PROGRAM);
        let (control, other) = UnixStream::pair().context("cannot make a pair of sockets")?;
        control.set_write_timeout(Some(PATIENCE)).context("the control socket")?;
        let child = Command::new(&program)
            .stdin(Stdio::from(OwnedFd::from(other)))
            .stdout(Stdio::null())
            .env_clear()
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        tracing::info!(pid = child.id(), "the sidecar has started");
        let reading = control.try_clone().context("the control socket")?;
        let (answering, answers) = channel();
        thread::spawn(move || {
            while let Ok(Some((word, _))) = protocol::receive::<Word>(&reading) {
                match word {
                    // Nobody watching is no error.
                    Word::Denied(one) => drop(denied.send(one)),
                    answer => {
                        if answering.send(answer).is_err() {
                            return;
                        }
                    }
                }
            }
        });
        let mut running = Running { child, control, answers, slots: BTreeMap::new(), hangs: false };
        running.order(&start(config, resolvers)?, &[])?;
        Ok(running)
    }

    fn prepare(
        &mut self,
        dataplane: &mut Dataplane,
        config: &Config,
        Judged { place, bridge, sandbox, generation }: &Judged<'_>,
    ) -> Result<()> {
        let (slot, by) = (place.slot, bridge.unwrap_or(place.ifindex));
        if self.slots.get(&slot).is_some_and(|bound| *bound != by) {
            self.order(&Order::End { slot }, &[])?;
            self.slots.remove(&slot);
        }
        if !self.slots.contains_key(&slot) {
            let listeners = dataplane.listen(*place, netns(sandbox), *bridge, config.marks.into())?;
            let descriptors = listeners.each_ref().map(TcpListener::as_fd);
            self.order(&Order::Begin { slot, id: sandbox.id.to_string() }, &descriptors)?;
            self.slots.insert(slot, by);
        }
        // Nothing passes that a rule or a proxy was to have a hand in.
        let is_alone = sandbox.policy.transforms.is_empty() && sandbox.policy.egress_proxy.is_none();
        let names = sandbox.policy.names.iter().filter(|_| is_alone);
        let policy = Policy {
            generation: *generation,
            names: names.map(|entry| entry.value.to_string()).collect(),
            opened: config.operator.open_ranges.clone(),
        };
        self.order(&Order::Prepare { slot, policy }, &[])
    }

    fn order(&mut self, order: &Order, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        let answer = protocol::send(&self.control, order, descriptors)
            .map_err(anyhow::Error::from)
            .and_then(|()| Ok(self.answers.recv_timeout(PATIENCE)?));
        match answer {
            Ok(Word::Done) => Ok(()),
            Ok(Word::Failed { reason }) => bail!("the sidecar refuses: {reason}"),
            other => {
                self.hangs = true;
                other.map(drop).context("the sidecar does not answer")
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already needs no signal.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What it is told first.
fn start(config: &Config, resolvers: Vec<IpAddr>) -> Result<Order> {
    Ok(Order::Start {
        resolvers,
        sources: config.sources.clone(),
        limits: config.sidecar.clone(),
        grown_bytes: grown_bytes()?,
    })
}

/// What the kernel lets a socket's buffers grow to, both together.
fn grown_bytes() -> Result<u64> {
    let most = |name: &str| {
        let path = format!("/proc/sys/net/ipv4/{name}");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let most = text.split_whitespace().next_back().and_then(|bytes| bytes.parse().ok());
        most.with_context(|| format!("cannot understand {path}: {text:?}"))
    };
    let (receive, send): (u64, u64) = (most("tcp_rmem")?, most("tcp_wmem")?);
    Ok(receive.saturating_add(send))
}

/// Who resolves names.
fn resolvers(config: &Config) -> Result<Vec<IpAddr>> {
    const HOSTS: &str = "/etc/resolv.conf";
    if !config.resolvers.is_empty() {
        return Ok(config.resolvers.clone());
    }
    let text = fs::read(HOSTS).with_context(|| format!("cannot read {HOSTS}"))?;
    let known = resolv_conf::Config::parse(text).with_context(|| format!("cannot understand {HOSTS}"))?;
    Ok(known.nameservers.iter().map(IpAddr::from).collect())
}

/// The namespace of a sandbox's device, as the document names it.
fn netns(sandbox: &Sandbox) -> Option<&NetnsRef> {
    match &sandbox.attach {
        Attach::Interface { netns, .. } => netns.as_ref(),
        _ => None,
    }
}
