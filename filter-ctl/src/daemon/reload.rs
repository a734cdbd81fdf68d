//! SIGHUP: the configuration is read again, and what can change while the daemon runs does.
//!
//! A file that does not hold changes nothing. What cannot change (marks, hooks, listeners, the provider) stays as it is until the daemon is
//! started again, and is told.

use super::api::Api;
use super::attachment::attachment;
use super::config::{self, Config, MetricsConfig};
use super::connections;
use super::node::{Held, Node};
use super::proxies::Proxies;
use super::reconcile::{device, known_gateway};
use super::refusal::Refusal;
use super::sidecar;
use crate::api::NoticeKind;
use anyhow::{Context, bail};
use filter_core::abi::{SandboxConfig, SandboxFlags};
use filter_dataplane::{Dials, ToUpdate};
use filter_policy::{Compiled, compile, validate};
use std::fmt::Debug;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use tokio::signal::unix::Signal;

/// Sandboxes that are changed under one lock: they share grace periods, and nobody waits for all of them.
const AT_ONCE: usize = 64;

/// What came of it.
#[derive(Default)]
struct Reloaded {
    /// What is different in the file and needs a restart.
    kept: Vec<&'static str>,
    /// Sandboxes that are as before, and why.
    failed: Vec<String>,
}

/// Reads the configuration again whenever it is asked for.
pub(super) async fn watch(api: Api, path: PathBuf, required: bool, mut asked: Signal) {
    while asked.recv().await.is_some() {
        let told = match reload(&api, &path, required).await {
            Ok(reloaded) => reloaded.text(),
            Err(error) => {
                let text = format!("the configuration was read again and is refused, nothing was changed: {error:#}");
                tracing::error!("{text}");
                text
            }
        };
        // On one line.
        api.news.tell(NoticeKind::Configuration, None, told.lines().map(str::trim).collect::<Vec<_>>().join("; "));
    }
}

async fn reload(api: &Api, path: &Path, required: bool) -> anyhow::Result<Reloaded> {
    let new = config::read(path, required)?;
    let resolvers = sidecar::resolvers(&new).unwrap_or_default();
    let proxies = Proxies::new(&resolvers, &new.operator)?;
    let limits = new.operator.limits.clone();
    let mut reloaded = api.with(move |node| Ok(take(node, new))).await.map_err(told)??;
    api.proxies.set(proxies);
    api.limits.set(limits);
    let mut next = Some(String::new());
    while let Some(from) = next {
        let (then, failed) = api.with(move |node| Ok(follow(node, &from))).await.map_err(told)?;
        reloaded.failed.extend(failed);
        next = then;
    }
    Ok(reloaded)
}

fn told(refusal: Refusal) -> anyhow::Error {
    anyhow::anyhow!("{}", refusal.reply().message)
}

impl Reloaded {
    /// In words, which the log has as well.
    fn text(&self) -> String {
        let mut text = "the configuration was read again".to_owned();
        if !self.kept.is_empty() {
            text += &format!("; needs a restart: {}", self.kept.join(", "));
        }
        if self.failed.is_empty() {
            tracing::info!("{text}");
        } else {
            text += &format!("; these stay as they are, SIGHUP tries again: {}", self.failed.join(", "));
            tracing::error!("{text}");
        }
        text
    }
}

/// Takes a configuration, which sandboxes then follow. Refuses one under which what is kept could not be taken over by the next daemon.
fn take(node: &mut Node, new: Config) -> anyhow::Result<Reloaded> {
    for held in node.sandboxes.values() {
        let record = &held.record;
        if let Err(problems) = validate(&record.document, record.lines.as_ref(), &new.operator.limits) {
            bail!("limits: sandbox \"{}\" has more: {problems}", held.sandbox.id);
        }
    }
    let journal = connections::open(new.connections.as_ref())?;
    let (new, kept) = merged(&node.config, new);
    // Without a sidecar nobody needs resolvers yet.
    let resolvers =
        sidecar::resolvers(&new).or_else(|error| if node.sidecar.runs() { Err(error) } else { Ok(Vec::new()) })?;
    let dials = Dials { resolvers: &resolvers, opened: &new.operator.open_ranges, marks: new.marks.into() };
    node.dataplane.guard_anew(&dials).context("what the sidecar may dial")?;
    node.config = new;
    node.connections.replace(journal);
    node.sidecar.configure(&node.config);
    Ok(Reloaded { kept, failed: Vec::new() })
}

/// What is to hold, and what of the new one cannot.
fn merged(old: &Config, new: Config) -> (Config, Vec<&'static str>) {
    let mut kept = Vec::new();
    let mut differs = |name, differs: bool| {
        if differs {
            kept.push(name);
        }
    };
    differs("marks", old.marks != new.marks);
    differs("flowsPerSandbox", old.flows.0 != new.flows.0);
    differs("hook", old.hook != new.hook);
    differs("sidecar", !same(&old.sidecar, &new.sidecar));
    differs("api", !same(&old.api, &new.api));
    differs("provider", old.provider != new.provider);
    differs("templates", !same(&old.templates, &new.templates));
    let listen = |config: &Config| config.metrics.as_ref().map(|metrics| metrics.listen);
    differs("metrics.listen", listen(old) != listen(&new));
    let per_sandbox = new.metrics.as_ref().is_some_and(|metrics| metrics.per_sandbox);
    let metrics = old.metrics.as_ref().map(|metrics| MetricsConfig { per_sandbox, ..metrics.clone() });
    let Config { marks, flows, hook, sidecar, api, provider, templates, .. } = old.clone();
    (Config { marks, flows, hook, sidecar, api, metrics, provider, templates, ..new }, kept)
}

fn same(one: &impl Debug, other: &impl Debug) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

/// Makes some sandboxes, the first of which is the first not before `from`, what their documents mean under the configuration; attachment
/// and policy change at one instant. Tells where to go on, and who stays as he is.
fn follow(node: &mut Node, from: &str) -> (Option<String>, Vec<String>) {
    let range = (Bound::Included(from), Bound::Unbounded);
    let mut chosen: Vec<Held> =
        node.sandboxes.range::<str, _>(range).take(AT_ONCE + 1).map(|(_, h)| h.clone()).collect();
    let next = chosen.split_off(AT_ONCE.min(chosen.len())).pop().map(|held| held.sandbox.id.to_string());
    chosen.retain(|held| !held.gone);
    let changes: Vec<(Held, Compiled)> = chosen.into_iter().map(|held| changed(node, held)).collect();
    for (held, _) in changes.iter().filter(|(held, _)| !held.record.sealed) {
        if let Err(error) = node.prepare_names(&held.record, &held.config, &held.sandbox) {
            tracing::error!(id = %held.sandbox.id, "its names are of no use: {error:#}");
            node.sidecar.falls_short();
        }
    }
    let to_update = |(held, policy)| ToUpdate { slot: Held::place(held).slot, config: Some(&held.config), policy };
    let updates: Vec<ToUpdate<'_>> = changes.iter().map(|(held, policy)| to_update((held, policy))).collect();
    let outcomes = node.dataplane.update_many(&updates);
    let mut failed = Vec::new();
    for ((held, policy), outcome) in changes.into_iter().zip(outcomes) {
        let (id, slot) = (held.sandbox.id.to_string(), held.record.slot);
        match outcome {
            Ok(()) => {
                if let Err(error) = node.sidecar.commit(slot) {
                    // It is replaced, and what it carried has ended with it.
                    tracing::error!(id, "{error:#}");
                }
                node.end_stalled(&held, &policy);
                node.hold(held);
            }
            Err(error) => {
                node.sidecar.forget(slot);
                failed.push(format!("{id} ({error})"));
            }
        }
    }
    (next, failed)
}

/// What a sandbox is under the node's configuration.
fn changed(node: &Node, held: Held) -> (Held, Compiled) {
    let place = held.place();
    let survey = node.hosts.survey(place.netns_inode);
    let gateway =
        survey.and_then(|survey| survey.gateway(place.ifindex)).unwrap_or_else(|| known_gateway(&held.config));
    let mut config = attachment(&node.config, &held.sandbox, &device(&held, gateway), held.record.incarnation);
    if held.record.sealed {
        config.flags |= SandboxFlags::SEALED;
    }
    let compiled = compile(&held.sandbox.policy, &node.config.operator, held.record.generation);
    (Held { config: SandboxConfig { ..config }, ..held }, compiled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_restart_stays_and_is_told() {
        let metrics = MetricsConfig { per_sandbox: true, ..MetricsConfig::default() };
        let new = Config {
            events: config::Rate { per_second: 1, burst: 1 },
            hook: config::Hook::Clsact,
            metrics: Some(metrics.clone()),
            ..Config::default()
        };
        let (holds, kept) = merged(&Config::default(), new.clone());
        assert_eq!(kept, ["hook", "metrics.listen"]);
        assert!(holds.metrics.is_none() && holds.hook == config::Hook::Auto && holds.events.burst == 1);
        let old = Config { metrics: Some(MetricsConfig { per_sandbox: false, ..metrics }), ..Config::default() };
        let (holds, kept) = merged(&old, Config { hook: config::Hook::Auto, ..new });
        assert!(kept.is_empty() && holds.metrics.is_some_and(|metrics| metrics.per_sandbox), "{kept:?}");
    }
}
