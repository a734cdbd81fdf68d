//! The sidecar's process: started when the first policy has names, and again whenever it ends.
//!
//! It has the listeners: while there is none, the kernel finds none, and denies what only a name could allow.

mod lives;
mod process;

use super::config::Config;
use super::connections::Log;
use super::news::News;
use crate::api::{NoticeKind, SidecarStatus};
use anyhow::{Context, Result, bail};
use filter_dataplane::{Dataplane, Dials, Place};
use filter_policy::{Attach, Entry, NetnsRef, Sandbox};
use filter_sidecar::protocol::{Denied, Lists, Order, Policy};
use ipnet::IpNet;
use lives::Lives;
use process::{Heard, Process};
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, broadcast};

/// Refusals that a slow watcher may be behind.
const BACKLOG: usize = 1_024;
/// Longer lists are not handed over where new connections do not need them.
const MOST_LISTED: usize = 4_096;
/// After so long what could not be handed over is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The sidecar.
pub(super) struct Sidecar {
    running: Option<Running>,
    lives: Lives,
    /// Somebody lacks what he is to have of it, which is to be handed over from this moment on.
    lacking: Option<Instant>,
    ended: Arc<Notify>,
    denied: broadcast::Sender<Denied>,
    news: News,
    connections: Log,
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
    process: Process,
    /// Slots that it has listeners of, and the device that these are bound to.
    slots: BTreeMap<u32, u32>,
}

impl Sidecar {
    /// None that runs yet; `news` hears of those that are lost, `connections` of what they have carried.
    pub(super) fn new(news: News, connections: Log) -> Sidecar {
        let (lives, ended) = (Lives::default(), Arc::default());
        Sidecar { running: None, lives, lacking: None, ended, denied: broadcast::channel(BACKLOG).0, news, connections }
    }

    /// Notified when it ends.
    pub(super) fn ended(&self) -> Arc<Notify> {
        self.ended.clone()
    }

    /// How it is; `None` when it was never needed.
    pub(super) fn status(&self) -> Option<SidecarStatus> {
        (self.lives.begun > 0 || self.lacking.is_some()).then(|| SidecarStatus {
            pid: self.running.as_ref().map(|running| running.process.pid()),
            restarts: self.lives.restarts(),
            sandboxes: self.running.as_ref().map_or(0, |running| running.slots.len()),
            last_end: self.lives.last_end.clone(),
        })
    }

    /// The refusals that it tells of.
    pub(super) fn denied(&self) -> broadcast::Receiver<Denied> {
        self.denied.subscribe()
    }

    /// Whether there is one.
    pub(super) fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// Whether it has anything of a slot.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.running.as_ref().is_some_and(|running| running.slots.contains_key(&slot))
    }

    /// Tells one that runs what of the configuration holds from now on; one that does not take it is replaced.
    pub(super) fn configure(&mut self, config: &Config) {
        let Some(running) = &mut self.running else { return };
        let told = resolvers(config).and_then(|resolvers| {
            let sources = config.sources.clone();
            let tells_connections = config.connections.is_some();
            running.process.order(&Order::Configure { resolvers, sources, tells_connections }, &[])
        });
        if let Err(error) = told {
            tracing::error!("the sidecar: {error:#}");
            self.lose();
        }
    }

    /// Gives it the names of a sandbox's policy, which it is to judge by from [`Self::commit`] on.
    ///
    /// # Errors
    /// When it cannot be started, does not answer, or the listeners cannot be opened.
    pub(super) fn prepare(&mut self, dataplane: &mut Dataplane, config: &Config, judged: &Judged<'_>) -> Result<()> {
        if self.running.as_mut().is_some_and(|running| running.process.beat().is_err()) {
            self.lose();
        }
        let running = match &mut self.running {
            Some(running) => running,
            None => self.start(dataplane, config)?,
        };
        let prepared = running.prepare(dataplane, config, judged);
        self.unless_lost(prepared)
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

    /// Somebody could not be given what he is to have; it is tried again soon.
    pub(super) fn falls_short(&mut self) {
        self.lacking = Some(Instant::now() + AGAIN);
    }

    /// Makes sure that it answers, and replaces it by nothing if it does not. Tells whether somebody is to be given now what he lacks; says so once.
    pub(super) fn look(&mut self) -> bool {
        if let Some(running) = &mut self.running {
            // Whatever came of it is noticed below.
            drop(running.process.beat());
            if running.process.is_lost().is_some() {
                self.lose();
            }
        }
        let now = Instant::now();
        let is_time = self.lacking.is_some_and(|from| from <= now) && self.lives.wait(now).is_none();
        is_time && self.lacking.take().is_some()
    }

    fn start(&mut self, dataplane: &mut Dataplane, config: &Config) -> Result<&mut Running> {
        if let Some(wait) = self.lives.wait(Instant::now()) {
            let last = self.lives.last_end.as_deref().unwrap_or_default();
            bail!("the sidecar ends again and again ({last}); the next one is started in {} ms", wait.as_millis());
        }
        self.lives.begun = self.lives.begun.saturating_add(1);
        let heard = Heard { denied: self.denied.clone(), connections: self.connections.clone() };
        match Running::start(dataplane, config, heard, self.ended.clone()) {
            Ok(running) => Ok(self.running.insert(running)),
            Err(error) => {
                self.lives.ended(Duration::ZERO, format!("{error:#}"), Instant::now());
                Err(error)
            }
        }
    }

    /// Ends it: its listeners go with it, and what it carried.
    fn lose(&mut self) {
        let Some(Running { process, .. }) = self.running.take() else { return };
        let age = process.age();
        let why = process.is_lost().unwrap_or_else(|| "it did not do what it was told".to_owned());
        tracing::error!(pid = process.pid(), "the sidecar is lost, and replaced: {why}");
        self.news.tell(NoticeKind::Sidecar, None, format!("the sidecar is lost, and replaced: {why}"));
        drop(process);
        let now = Instant::now();
        self.lives.ended(age, why, now);
        self.lacking = Some(now);
        self.ended.notify_one();
    }

    fn order(&mut self, slot: u32, order: &Order) -> Result<()> {
        let Some(running) = self.running.as_mut().filter(|running| running.slots.contains_key(&slot)) else {
            return Ok(());
        };
        let carried_out = running.process.order(order, &[]);
        self.unless_lost(carried_out)
    }

    fn unless_lost(&mut self, outcome: Result<()>) -> Result<()> {
        if outcome.is_err() && self.running.as_ref().is_some_and(|running| running.process.is_lost().is_some()) {
            self.lose();
        }
        outcome
    }
}

impl Running {
    fn start(dataplane: &mut Dataplane, config: &Config, heard: Heard, ended: Arc<Notify>) -> Result<Running> {
        let resolvers = resolvers(config)?;
        let opened = &config.operator.open_ranges;
        let guarded = dataplane.guard(&Dials { resolvers: &resolvers, opened, marks: config.marks.into() });
        guarded.context("the sidecar cannot be kept from what is protected")?;
        let mut process = Process::start(heard, ended)?;
        process.order(&start(config, resolvers)?, &[])?;
        Ok(Running { process, slots: BTreeMap::new() })
    }

    fn prepare(
        &mut self,
        dataplane: &mut Dataplane,
        config: &Config,
        Judged { place, bridge, sandbox, generation }: &Judged<'_>,
    ) -> Result<()> {
        let (slot, by) = (place.slot, bridge.unwrap_or(place.ifindex));
        if self.slots.get(&slot).is_some_and(|bound| *bound != by) {
            self.process.order(&Order::End { slot }, &[])?;
            self.slots.remove(&slot);
        }
        if !self.slots.contains_key(&slot) {
            let listeners = dataplane.listen(*place, netns(sandbox), *bridge, config.marks.into())?;
            let descriptors = listeners.each_ref().map(TcpListener::as_fd);
            self.process.order(&Order::Begin { slot, id: sandbox.id.to_string() }, &descriptors)?;
            self.slots.insert(slot, by);
        }
        let policy = judged_by(sandbox, *generation, &config.operator.open_ranges);
        self.process.order(&Order::Prepare { slot, policy }, &[])
    }
}

/// What it is told of a policy.
fn judged_by(Sandbox { policy, .. }: &Sandbox, generation: u32, opened: &[IpNet]) -> Policy {
    let prefixes = |list: &[Entry<IpNet>]| list.iter().map(|entry| entry.value).collect();
    // Otherwise what the lists allow goes straight out, and they count for open connections that lose their name.
    let sees_allowed = !policy.transforms.is_empty() || policy.egress_proxy.is_some();
    let knows_lists = sees_allowed || policy.allow.len() + policy.deny.len() <= MOST_LISTED;
    Policy {
        generation,
        names: policy.names.iter().map(|entry| entry.value.to_string()).collect(),
        ruled: policy.transforms.iter().map(|transform| transform.host.to_string()).collect(),
        is_proxied: policy.egress_proxy.is_some(),
        lists: knows_lists.then(|| Lists { allow: prefixes(&policy.allow), deny: prefixes(&policy.deny) }),
        opened: opened.to_vec(),
    }
}

/// What it is told first.
fn start(config: &Config, resolvers: Vec<IpAddr>) -> Result<Order> {
    Ok(Order::Start {
        resolvers,
        sources: config.sources.clone(),
        limits: config.sidecar.clone(),
        grown_bytes: grown_bytes()?,
        tells_connections: config.connections.is_some(),
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
pub(super) fn resolvers(config: &Config) -> Result<Vec<IpAddr>> {
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
