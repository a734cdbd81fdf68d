//! A provider on a world's host, and how to look at what it makes.

use anyhow::{Context, Result, ensure};
use filter_provider::{Ask, Config, Provider};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use test_world::World;

static IDS: AtomicU32 = AtomicU32::new(0);

/// A provider that believes a world's host to be its host. What it has made goes with it.
pub(crate) struct Place<'a> {
    pub(crate) world: &'a World,
    provider: Option<Provider>,
}

/// An id that no other test has.
pub(crate) fn id() -> String {
    format!("t{}x{}", std::process::id(), IDS.fetch_add(1, Ordering::Relaxed))
}

/// The call for a sandbox.
pub(crate) fn ask(id: &str) -> Ask {
    Ask { id: id.to_owned(), template: "base".to_owned(), settings: Value::Null, body: Value::Null }
}

/// A configuration as an operator writes it.
pub(crate) fn config(yaml: &str) -> Result<Config> {
    Ok(serde_saphyr::from_str(yaml)?)
}

/// A configuration of namespaces behind the world's uplink.
pub(crate) fn netns_config(pool: &[&str], connections: u32) -> Result<Config> {
    config(&format!("netns: {{ pool: {pool:?}, uplink: up0, connections: {connections} }}"))
}

impl<'a> Place<'a> {
    pub(crate) fn new(world: &'a World, config: &Config) -> Result<Place<'a>> {
        let provider = world.host().within(|| Provider::new(config))??;
        Ok(Place { world, provider: Some(provider) })
    }

    pub(crate) fn provider(&self) -> &Provider {
        self.provider.as_ref().expect("only the drop takes it")
    }

    /// Links and firewall of the host, as text.
    pub(crate) fn everything(&self) -> Result<String> {
        let host = self.world.host();
        let links = host.ip("-oneline link show")?.stdout;
        let names: Vec<&str> = links.lines().filter_map(|line| line.split(": ").nth(1)).collect();
        let addresses = host.ip("-oneline address show")?.stdout;
        let routes = host.ip("-oneline route show table all")?.stdout;
        let rules = host.run(&["nft", "list", "ruleset"])?.ok()?.stdout;
        Ok(format!("{names:?}\n{}\n{routes}\n{rules}", addresses.lines().count()))
    }

    /// Whether anything on the machine is called after this sandbox.
    pub(crate) fn has_files(&self, id: &str) -> bool {
        ["/run/netns", "/etc/netns"].iter().any(|dir| Path::new(dir).join(format!("sandbox-{id}")).exists())
    }

    fn command(id: &str, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("sandbox-{id}")]).args(words).stdin(Stdio::null());
        command
    }

    /// What a program in the sandbox prints.
    pub(crate) fn inside(&self, id: &str, words: &[&str]) -> Result<String> {
        let output = Place::command(id, words).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(crate) fn spawn_inside(&self, id: &str, words: &[&str]) -> Result<Child> {
        Ok(Place::command(id, words).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    /// What curl gets there; nothing when it gets no connection within five seconds. One who has tried before the link was up looks for
    /// the gateway's MAC address once a second.
    pub(crate) fn curl(&self, id: &str, url: &str) -> Result<String> {
        self.inside(
            id,
            &["curl", "--disable", "-s", "-g", "--noproxy", "*", "--connect-timeout", "5", "--max-time", "10", url],
        )
    }

    /// Runs `work` on a thread in the sandbox.
    pub(crate) fn within<T: Send>(&self, id: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
        let file = File::open(format!("/run/netns/sandbox-{id}")).context("the sandbox is gone")?;
        let inside = || setns(file, CloneFlags::CLONE_NEWNET).map(|()| work());
        Ok(thread::scope(|scope| scope.spawn(inside).join()).expect("the thread does not panic")?)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(provider) = self.provider.take() else { return };
        // A test that failed leaves what it has made.
        for id in provider.strays(&BTreeSet::new()).unwrap_or_default() {
            provider.destroy(&id).ok();
        }
    }
}

/// Fails unless nothing of a provider is left.
pub(crate) fn is_as_before(place: &Place, before: &str) -> Result<()> {
    let now = place.everything()?;
    ensure!(now == before, "{now}\n—— but before:\n{before}");
    Ok(())
}
