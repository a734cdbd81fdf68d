//! A daemon that makes sandboxes, several clients, and what must be true after it has died.

use crate::client::{ALLOWED, Client, Doing, Kind, Known, now, policy_of};
use anyhow::{Context, Result, bail, ensure};
use filter_ctl::api::State;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;
use test_api::{Open, Request};
use test_faults::{FAIL_POINT, slots, with_fail_points};
use test_scenarios::{Daemon, Ended, Local, Stage as Scene};
use test_world::{Node, World, poll};

/// How long something that must happen may take.
const SOON: Duration = Duration::from_secs(20);
/// Port of the echo.
const ECHO: u16 = 9000;
/// Sandboxes that the pool has addresses for.
const POOL: usize = 8;
const PROVIDER: &str =
    "provider: { netns: { pool: [203.0.115.0/28, \"2001:db8:79::/124\"], uplink: up0, connections: 64 } }\n";

/// What became of the call that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Became {
    /// Nothing.
    Old,
    /// All that was asked for.
    New,
}

/// The daemon and its clients.
pub(crate) struct Stage {
    pub(crate) open: Open,
    pub(crate) clients: Vec<Client>,
    local: Local,
    arm: PathBuf,
    tag: String,
}

impl Stage {
    pub(crate) fn new(name: &str, seed: u64) -> Result<Stage> {
        let world = World::new(name)?;
        let arm = world.dir().join("fail-point");
        let daemon = Daemon::prepare(&world, "daemon", &Open::config(PROVIDER))?;
        let mut daemon = daemon.with_program(&with_fail_points()?, FAIL_POINT, &arm);
        daemon.begin()?;
        let local = Local::new(daemon.socket());
        let (a, b) = (world.sandbox("a")?, world.sandbox("b")?);
        let (echo, nginx) = (world.internet().udp_echo(ECHO)?, world.internet().nginx()?);
        let open = Open::on(Scene { daemon, a: a.clone(), dnsmasq: None, echo, nginx, world })?;
        let tag = format!("k{}", std::process::id());
        let kinds = [
            (Kind::Chosen, &open.operator),
            (Kind::Chosen, &open.operator),
            (Kind::Team, &open.key),
            (Kind::Team, &open.key),
            (Kind::Placed(Box::new(a)), &open.operator),
            (Kind::Placed(Box::new(b)), &open.operator),
            (Kind::Keys, &open.operator),
        ];
        let host = open.stage.world.host();
        let client = |(at, (kind, key)): (usize, (Kind, &String))| {
            Client::new(kind, format!("{tag}c{at}"), key, host, &local, seed.wrapping_add(at as u64))
        };
        let clients = kinds.into_iter().enumerate().map(client).collect();
        Ok(Stage { open, clients, local, arm, tag })
    }

    /// Names the point at which the daemon dies.
    pub(crate) fn arm(&self, point: &str) -> Result<()> {
        Ok(fs::write(&self.arm, point)?)
    }

    /// The daemon has died by its own hand, at the point that was named.
    pub(crate) fn has_died(&mut self, point: &str) -> Result<()> {
        let ended = self.open.stage.daemon.dies().with_context(|| format!("{point} was not reached"))?;
        self.was_killed(point, &ended)
    }

    /// Starts the daemon, which dies while it takes over.
    pub(crate) fn dies_at_start(&mut self, point: &str) -> Result<()> {
        let ended = self.open.stage.daemon.ends(&[]).with_context(|| format!("{point} was not reached"))?;
        self.was_killed(point, &ended)
    }

    fn was_killed(&self, point: &str, ended: &Ended) -> Result<()> {
        fs::remove_file(&self.arm)?;
        let killed = ended.status.signal() == Some(nix::sys::signal::Signal::SIGKILL as i32);
        let told = ended.stderr.contains(&format!("fail point {point}: killed"));
        ensure!(killed && told, "at {point} it ended {}: {}", ended.status, ended.stderr);
        Ok(())
    }

    /// Another daemon takes over. What was acknowledged holds, what was not is old or new as a whole, and nothing is left. Tells what became
    /// of the calls that were not answered.
    pub(crate) fn takes_over(&mut self) -> Result<Vec<Became>> {
        self.open.stage.daemon.begin()?;
        let mut clients = std::mem::take(&mut self.clients);
        let settled = clients.iter_mut().map(|client| {
            self.settles(client).with_context(|| format!("{}: {:?}, {:?}", client.name, client.known, client.pending))
        });
        let became = settled.collect::<Result<Vec<_>>>();
        self.clients = clients;
        let became = became?.into_iter().flatten().collect();
        self.nothing_is_left()?;
        Ok(became)
    }

    /// What is known of a client's sandbox, now that another daemon answers.
    fn settles(&self, client: &mut Client) -> Result<Option<Became>> {
        let pending = client.pending.take();
        for id in &client.ended {
            let shown = client.shown(id)?;
            ensure!(matches!(shown, Err(404 | 409)), "{id} was killed, and is shown: {shown:?}");
        }
        match (&client.kind, pending, client.known.clone()) {
            (Kind::Keys, pending, _) => self.settles_keys(client, pending.as_ref()),
            (_, None, None) => Ok(None),
            (_, Some(Doing::Create { id, call, policy, from, seconds }), None) => {
                let again = Doing::Create { id: id.clone(), call, policy, from, seconds };
                let Some(id) = id else {
                    let before = self.ids(&self.open.key)?;
                    client.creates_again(&again)?;
                    let id = client.known.as_ref().map(|known| known.id.clone()).unwrap_or_default();
                    return Ok(Some(if before.contains(&id) { Became::New } else { Became::Old }));
                };
                let known = Known {
                    id,
                    policy,
                    generation: 1,
                    ends: (from + seconds * 1_000, now() + seconds * 1_000),
                    sealed: false,
                };
                match client.shown(&known.id)? {
                    Err(404) => Ok(Some(Became::Old)),
                    Err(status) => bail!("{status}"),
                    Ok(shown) => {
                        is_shown(&known, &shown)?;
                        client.known = Some(known);
                        Ok(Some(Became::New))
                    }
                }
            }
            (_, Some(Doing::Detach), Some(known)) => {
                let there = self.local.list()?.contains_key(&known.id);
                client.known = there.then_some(known);
                Ok(Some(if there { Became::Old } else { Became::New }))
            }
            (_, _, Some(known)) if known.sealed => {
                let shown = client.shown(&known.id)?;
                ensure!(matches!(shown, Err(404)), "it was killed, and is shown: {shown:?}");
                Ok(None)
            }
            (kind, pending, Some(old)) => {
                let (mut new, is_placed) = (old.clone(), matches!(kind, Kind::Placed(_)));
                match &pending {
                    Some(Doing::Update(policy)) => (new.policy, new.generation) = (*policy, old.generation + 1),
                    Some(Doing::Timeout { from, seconds }) => {
                        new.ends = (from + seconds * 1_000, now() + seconds * 1_000);
                    }
                    _ => {}
                }
                let shown = match (client.shown(&old.id)?, &pending) {
                    (Ok(shown), _) => shown,
                    (Err(404 | 409), Some(Doing::Kill)) => {
                        client.known = is_placed.then_some(Known { sealed: true, ..old });
                        return Ok(Some(Became::New));
                    }
                    (Err(status), _) => bail!("it is gone: {status}"),
                };
                let became = match (is_shown(&old, &shown), is_shown(&new, &shown)) {
                    (Ok(()), _) => Became::Old,
                    (Err(_), Ok(())) => {
                        client.known = Some(new);
                        Became::New
                    }
                    (Err(error), Err(_)) => return Err(error),
                };
                Ok(pending.map(|_| became))
            }
            (_, pending, known) => bail!("{pending:?} of {known:?}"),
        }
    }

    fn settles_keys(&self, client: &mut Client, pending: Option<&Doing>) -> Result<Option<Became>> {
        for key in &client.revoked {
            ensure!(!client.lets_in(key)?, "a key lets in that was revoked");
        }
        let (_, all) = self.local.ask("GET", "/v1/keys", "")?;
        let ids: Vec<String> = all
            .as_array()
            .context("no list")?
            .iter()
            .filter(|key| key["name"] == "under way")
            .filter_map(|key| key["id"].as_str().map(str::to_owned))
            .collect();
        let became = match (pending, client.held.clone()) {
            (Some(Doing::RevokeKey), Some((_, key))) if !client.lets_in(&key)? => {
                (client.held, client.revoked) = (None, [client.revoked.clone(), vec![key]].concat());
                Some(Became::New)
            }
            (pending, Some((_, key))) => {
                ensure!(client.lets_in(&key)?, "a key does not let in");
                pending.map(|_| Became::Old)
            }
            (pending, None) => pending.map(|_| if ids.is_empty() { Became::Old } else { Became::New }),
        };
        // Nobody was told what it is.
        for id in ids.iter().filter(|id| client.held.as_ref().is_none_or(|(held, _)| held != *id)) {
            ensure!(self.local.ask("DELETE", &format!("/v1/keys/{id}"), "")?.0 == 200);
        }
        Ok(became)
    }

    /// What is there is what the clients know, by the API, the kernel, the disk and the provider; soon.
    pub(crate) fn nothing_is_left(&self) -> Result<()> {
        let mut last = None;
        let settled = poll(SOON, || self.agrees().map_err(|error| last = Some(error)).ok());
        settled.ok_or_else(|| last.unwrap_or_else(|| anyhow::anyhow!("there was no time to look")))
    }

    fn agrees(&self) -> Result<()> {
        let known: Vec<&Known> = self.clients.iter().filter_map(|client| client.known.as_ref()).collect();
        let living: BTreeSet<String> = known.iter().filter(|one| !one.sealed).map(|one| one.id.clone()).collect();
        let shown = self.ids(&self.open.operator)?;
        ensure!(shown == living, "the API shows {shown:?}, there are {living:?}");
        let status = self.local.list()?;
        let all: BTreeSet<&String> = known.iter().map(|one| &one.id).collect();
        ensure!(status.keys().collect::<BTreeSet<_>>() == all, "held are {:?}, not {all:?}", status.keys());
        let daemon = &self.open.stage.daemon;
        let (mut slots, records, making) = (slots::slots(daemon.pin_dir())?, daemon.records()?, daemon.making()?);
        ensure!(making.is_empty(), "the provider is asked for {making:?}");
        ensure!(records.keys().collect::<BTreeSet<_>>() == all, "on disk are {:?}, not {all:?}", records.keys());
        for one in &known {
            let (status, record) = (&status[&one.id], &records[&one.id]);
            let slot = record["slot"].as_u64().and_then(|slot| u32::try_from(slot).ok()).context("no slot")?;
            let slot = slots.remove(&slot).with_context(|| format!("{one:?}: its slot is empty"))?;
            ensure!(slot.is_whole() && slot.sealed == one.sealed, "{one:?} is {slot:?} in the kernel");
            let state = if one.sealed { State::Sealed } else { State::Active };
            ensure!(status.state == state, "{one:?} is {:?}", status.state);
            let generations = (slot.generation, status.generation, record["generation"].as_u64());
            let expected = (Some(one.generation), one.generation, Some(one.generation.into()));
            ensure!(generations == expected, "{one:?}: generations {generations:?}");
            ensure!(policy_of(&record["document"]["network"])? == one.policy, "{one:?}: {record}");
        }
        ensure!(slots.is_empty(), "nobody knows {slots:?}");
        self.provider_agrees()
    }

    fn provider_agrees(&self) -> Result<()> {
        let provided = self.clients.iter().filter(|client| !matches!(client.kind, Kind::Placed(_)));
        let expected: BTreeSet<String> =
            provided.filter_map(|client| client.known.as_ref()).map(|known| known.id.clone()).collect();
        let devices = self.devices()?;
        ensure!(devices == expected, "there are devices of {devices:?}, not {expected:?}");
        for directory in ["/run/netns", "/etc/netns"] {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let names: BTreeSet<String> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            let left = names.iter().filter_map(|name| name.strip_prefix("sandbox-"));
            let left: Vec<&str> = left.filter(|id| id.starts_with(&self.tag) && !expected.contains(*id)).collect();
            ensure!(left.is_empty(), "{directory} has {left:?}");
            for id in &expected {
                ensure!(names.contains(&format!("sandbox-{id}")), "{directory} lacks {id}");
            }
        }
        Ok(())
    }

    /// Whose the provider's devices are.
    fn devices(&self) -> Result<BTreeSet<String>> {
        let links: Value = serde_json::from_str(&self.open.stage.world.host().ip("-json link show")?.stdout)?;
        let links = links.as_array().context("no list")?.iter();
        let own = links.filter(|link| link["ifname"].as_str().is_some_and(|name| name.starts_with("sf")));
        let alias = own.map(|link| link["ifalias"].as_str().unwrap_or("?").trim_start_matches("sandbox-filter:"));
        Ok(alias.map(str::to_owned).collect())
    }

    fn ids(&self, key: &str) -> Result<BTreeSet<String>> {
        let all = self.open.send(&Request::new("GET", "/v2/sandboxes").key(key))?.json()?;
        let ids = all.as_array().context("no list")?.iter().filter_map(|one| one["sandboxID"].as_str());
        Ok(ids.map(str::to_owned).collect())
    }

    /// Real packets of the sandbox of one client, if it has one: what its policy allows passes, and nothing else.
    pub(crate) fn probe(&self, client: usize) -> Result<()> {
        let client = &self.clients[client % self.clients.len()];
        let Some(known) = &client.known else { return Ok(()) };
        let node: Node = match &client.kind {
            Kind::Placed(sandbox) => (***sandbox).clone(),
            _ => self.open.stage.world.adopt(&format!("sandbox-{}", known.id))?,
        };
        for (policy, address) in ALLOWED.into_iter().enumerate() {
            if policy == known.policy && !known.sealed {
                let echoed = poll(SOON, || node.udp_probe_within(Duration::from_millis(200), address, ECHO).ok());
                ensure!(echoed.is_some_and(|probe| probe.is_echoed()), "{known:?} does not reach {address}");
            } else {
                let probe = node.udp_probe_within(Duration::from_millis(50), address, ECHO)?;
                ensure!(!probe.is_echoed(), "{known:?} reaches {address}");
            }
        }
        Ok(())
    }

    /// Everything is ended: nothing is left, and the pool is as large as it was.
    pub(crate) fn ends(&mut self) -> Result<()> {
        for client in &mut self.clients {
            if let Some(known) = client.known.take() {
                let kill = Request::new("DELETE", format!("/sandboxes/{}", known.id)).key(&self.open.operator);
                ensure!(known.sealed || self.open.send(&kill)?.status == 204);
                if matches!(client.kind, Kind::Placed(_)) {
                    ensure!(self.local.ask("POST", &format!("/v1/sandboxes/{}/detach", known.id), "")?.0 == 200);
                }
            }
        }
        self.nothing_is_left()?;
        let create = Request::new("POST", "/v2/sandboxes").key(&self.open.key);
        let create = create.json(&serde_json::json!({ "templateID": "base" }));
        for at in 0..=POOL {
            let reply = self.open.send(&create)?;
            ensure!(reply.status == if at < POOL { 201 } else { 503 }, "sandbox {at} of {POOL}: {reply:?}");
        }
        for id in self.ids(&self.open.key)? {
            let reply = self.open.send(&Request::new("DELETE", format!("/sandboxes/{id}")).key(&self.open.key))?;
            ensure!(reply.status == 204, "{reply:?}");
        }
        self.nothing_is_left()
    }
}

/// A sandbox is shown as it is known.
fn is_shown(known: &Known, shown: &Value) -> Result<()> {
    let policy = policy_of(&shown["network"])?;
    let ends: jiff::Timestamp = shown["endAt"].as_str().context("no end")?.parse()?;
    let ends = u64::try_from(ends.as_millisecond())?;
    // What is shown may be in whole seconds.
    let within = ends + 1_000 > known.ends.0 && ends <= known.ends.1;
    ensure!(policy == known.policy && within, "{known:?} is shown with policy {policy}, and ends {ends}");
    Ok(())
}
