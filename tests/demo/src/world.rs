//! The stage: a host that filters, two sandboxes, an internet with servers, and what can be measured there.

use std::{path::Path, thread};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde::Deserialize;
use test_world::{Dnsmasq, Nginx, Process, Sandbox, World, internet};

use crate::{
    destination::{Destination, METADATA, NAMES, NEIGHBOUR, Outcome},
    interrupt,
    run::{Daemon, FilterCtl},
    screen::Screen,
};

/// Everything that takes part. Fields are dropped from top to bottom: clients before servers.
pub(crate) struct Stage<'w> {
    pub(crate) screen: &'w Screen,
    pub(crate) world: &'w World,
    /// Where the example documents are, as given on the command line.
    pub(crate) examples: &'w Path,
    pub(crate) ctl: FilterCtl<'w>,
    pub(crate) agent: Sandbox,
    /// `filter-ctl watch`, from before the first policy on.
    pub(crate) watch: Process,
    pub(crate) daemon: Daemon,
    servers: Servers,
}

/// Kept for their ends.
struct Servers {
    _web: Nginx,
    _neighbour: Nginx,
    _resolvers: Dnsmasq,
}

/// What `filter-ctl explain --json` says, as far as it is shown here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    pub(crate) allowed: bool,
    pub(crate) reason_name: String,
    pub(crate) entry: Option<String>,
    pub(crate) place: Option<String>,
}

impl<'w> Stage<'w> {
    /// Starts servers and the daemon.
    pub(crate) fn set(world: &'w World, filter_ctl: &Path, examples: &'w Path, screen: &'w Screen) -> Result<Self> {
        let internet = world.internet();
        let (agent, neighbour) = (world.sandbox("agent")?, world.sandbox("neighbour")?);
        ensure!(neighbour.v4 == NEIGHBOUR, "the second sandbox has {}, not {NEIGHBOUR}", neighbour.v4);
        internet.add_address(METADATA)?;
        let resolvers = [internet::CLOUDFLARE.into(), internet::GOOGLE.into(), internet::CLOUDFLARE6.into()];
        let servers = Servers {
            _web: internet.nginx()?,
            _neighbour: neighbour.nginx()?,
            _resolvers: internet.dnsmasq(&resolvers, &NAMES.map(|name| (name, internet::WEB_ELSEWHERE.into())))?,
        };
        interrupt::check()?;
        let ctl = FilterCtl::new(world, filter_ctl);
        let daemon = Daemon::start(&ctl, world)?;
        let watch = ctl.start(screen, &["watch"])?;
        Ok(Self { screen, world, examples, ctl, agent, watch, daemon, servers })
    }

    /// What the world is.
    pub(crate) fn draw(&self) {
        self.screen.text(DRAWING);
        self.screen.blank();
        self.screen.text(&format!(
            "Two sandboxes, a host and an internet: network namespaces without any link to the machine's own network.\n\
             The daemon runs on the host; commands find it by SANDBOX_FILTER_SOCKET={}",
            self.ctl.socket().display()
        ));
    }

    /// Tries every destination from the agent, all at once.
    pub(crate) fn attempt_all(&self) -> Result<Vec<Outcome>> {
        let agent = &self.agent;
        self.for_all("curl, dig and ping at work", |destination| destination.attempt(agent))
    }

    /// Asks the daemon about every destination.
    pub(crate) fn explain_all(&self) -> Result<Vec<Explanation>> {
        let ctl = &self.ctl;
        self.for_all("asking for the reasons", |to| explain(ctl, &to.asked()))
    }

    /// Asks the daemon about a destination of the agent.
    pub(crate) fn explain(&self, words: &[String]) -> Result<Explanation> {
        explain(&self.ctl, words)
    }

    /// An example's path, as typed.
    pub(crate) fn example(&self, file: &str) -> String {
        self.examples.join(file).display().to_string()
    }

    /// Shows the sandboxes and networks of an example, with the numbers of their lines.
    pub(crate) fn excerpt(&self, file: &str) -> Result<()> {
        let path = self.examples.join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        self.screen.text(&crate::table::excerpt(&text));
        Ok(())
    }

    /// Ends the daemon, which must end well, and the servers; gives what the daemon logged.
    pub(crate) fn end(self) -> Result<String> {
        let Self { mut daemon, watch, servers, .. } = self;
        drop(watch);
        let ended = daemon.end(Signal::SIGTERM)?.ok()?;
        drop(servers);
        Ok(ended.stdout + &ended.stderr)
    }

    fn for_all<T: Send>(&self, label: &str, work: impl Fn(Destination) -> Result<T> + Sync) -> Result<Vec<T>> {
        interrupt::check()?;
        let results = self.screen.progress(label, || {
            thread::scope(|scope| {
                let work = &work;
                let threads = Destination::ALL.map(|destination| scope.spawn(move || work(destination)));
                let joined = threads.map(|thread| thread.join());
                joined
                    .into_iter()
                    .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            })
        });
        interrupt::check()?;
        results
    }
}

fn explain(ctl: &FilterCtl<'_>, words: &[String]) -> Result<Explanation> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    ctl.json(&[&["explain", "agent"], words.as_slice()].concat())
}

const DRAWING: &str = "\
agent      198.51.100.2 ──┐                         ┌─ web       203.0.113.10   192.0.2.10   2001:db8:10::10
                          ├─── host ──── internet ──┼─ dns       1.1.1.1   8.8.8.8   2606:4700:4700::1111
neighbour  198.51.100.6 ──┘   (the filter)          └─ metadata  169.254.169.254";
