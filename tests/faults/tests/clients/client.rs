//! A client that asks for one thing after the other, and remembers what was acknowledged and what was not.

use crate::random::Random;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use test_api::{PORT, Reply, Request, at};
use test_scenarios::Local;
use test_world::internet::{WEB, WEB_ELSEWHERE, WEB_NEIGHBOUR};
use test_world::{Node, Sandbox};

/// The destination that each of the policies allows; all else is denied.
pub(crate) const ALLOWED: [std::net::Ipv4Addr; 3] = [WEB, WEB_NEIGHBOUR, WEB_ELSEWHERE];

/// How a client's sandboxes come to be.
pub(crate) enum Kind {
    /// The provider makes them, under ids that the client chooses.
    Chosen,
    /// The provider makes them for a key; the create call is one that may be sent again.
    Team,
    /// The world has made them.
    Placed(Box<Sandbox>),
    /// It makes keys, not sandboxes.
    Keys,
}

/// A sandbox as it was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) policy: usize,
    pub(crate) generation: u32,
    /// When it ends, milliseconds since 1970: between these two.
    pub(crate) ends: (u64, u64),
    /// It was killed; its device is there and shut.
    pub(crate) sealed: bool,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) enum Doing {
    Create { id: Option<String>, call: String, policy: usize, from: u64, seconds: u64 },
    Update(usize),
    Timeout { from: u64, seconds: u64 },
    Kill,
    Detach,
    MakeKey,
    RevokeKey,
}

/// One client.
pub(crate) struct Client {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    key: String,
    host: Node,
    local: Local,
    random: Random,
    calls: u64,
    /// What was acknowledged last.
    pub(crate) known: Option<Known>,
    /// What was asked for and not answered when the daemon died.
    pub(crate) pending: Option<Doing>,
    /// Sandboxes whose end was acknowledged.
    pub(crate) ended: Vec<String>,
    /// A key that was acknowledged: its id, and what it is.
    pub(crate) held: Option<(String, String)>,
    /// Keys whose end was acknowledged.
    pub(crate) revoked: Vec<String>,
}

/// How a request ended.
enum Sent {
    Acknowledged(Reply),
    /// The daemon is gone.
    Lost,
}

impl Client {
    pub(crate) fn new(kind: Kind, name: String, key: &str, host: &Node, local: &Local, seed: u64) -> Client {
        Client {
            kind,
            name,
            key: key.to_owned(),
            host: host.clone(),
            local: local.clone(),
            random: Random(seed),
            calls: 0,
            known: None,
            pending: None,
            ended: Vec::new(),
            held: None,
            revoked: Vec::new(),
        }
    }

    /// Works until the daemon is gone, or `stop` says so.
    pub(crate) fn work(&mut self, stop: &dyn Fn() -> bool) -> Result<()> {
        while !stop() {
            let doing = self.choose();
            self.pending = Some(doing.clone());
            let done =
                self.try_once(&doing).with_context(|| format!("{}: {doing:?} of {:?}", self.name, self.known))?;
            if !done {
                return Ok(());
            }
            self.pending = None;
        }
        Ok(())
    }

    fn choose(&mut self) -> Doing {
        let choice = self.random.below(10);
        let (policy, seconds) = (self.random.below(ALLOWED.len() as u64) as usize, 600 + 60 * self.random.below(100));
        self.calls += 1;
        match (&self.kind, &self.known) {
            (Kind::Keys, _) if self.held.is_some() => Doing::RevokeKey,
            (Kind::Keys, _) => Doing::MakeKey,
            (kind, None) => {
                let id = match kind {
                    Kind::Team => None,
                    Kind::Placed(sandbox) => Some(sandbox.device.trim_start_matches("veth-").to_owned()),
                    _ => Some(format!("{}x{}", self.name, self.calls)),
                };
                Doing::Create { id, call: format!("{}-{}", self.name, self.calls), policy, from: now(), seconds }
            }
            (_, Some(known)) if known.sealed => Doing::Detach,
            (_, Some(known)) => match choice {
                0..=4 => Doing::Update((known.policy + 1 + policy % 2) % ALLOWED.len()),
                5..=6 => Doing::Timeout { from: now(), seconds },
                _ => Doing::Kill,
            },
        }
    }

    /// Asks; tells whether there was an answer. One that is no acknowledgement is an error.
    fn try_once(&mut self, doing: &Doing) -> Result<bool> {
        match doing {
            Doing::MakeKey | Doing::RevokeKey => return self.works_on_keys(doing),
            Doing::Detach => return self.detaches(),
            _ => {}
        }
        let Sent::Acknowledged(reply) = self.send(&self.request(doing)?, doing)? else { return Ok(false) };
        let until = now();
        match (doing, &mut self.known) {
            (Doing::Create { policy, from, seconds, .. }, known) => {
                let id = reply.json()?["sandboxID"].as_str().context("no id")?.to_owned();
                let ends = (from + seconds * 1_000, until + seconds * 1_000);
                *known = Some(Known { id, policy: *policy, generation: 1, ends, sealed: false });
            }
            (Doing::Update(policy), Some(known)) => {
                known.policy = *policy;
                known.generation += 1;
            }
            (Doing::Timeout { from, seconds }, Some(known)) => {
                known.ends = (from + seconds * 1_000, until + seconds * 1_000);
            }
            (Doing::Kill, Some(known)) if matches!(self.kind, Kind::Placed(_)) => known.sealed = true,
            (Doing::Kill, Some(known)) => {
                self.ended.push(known.id.clone());
                self.known = None;
            }
            _ => bail!("there is nothing to do that to"),
        }
        Ok(true)
    }

    fn request(&self, doing: &Doing) -> Result<Request> {
        let id = || self.known.as_ref().map(|known| known.id.as_str()).context("there is no sandbox");
        let request = match doing {
            Doing::Create { id, call, policy, seconds, .. } => {
                let body = self.body(id.as_deref(), *policy, *seconds);
                let request = Request::new("POST", "/v2/sandboxes").json(&body);
                if matches!(self.kind, Kind::Team) { request.header("Idempotency-Key", call) } else { request }
            }
            Doing::Update(policy) => {
                Request::new("PUT", format!("/sandboxes/{}/network", id()?)).json(&network(*policy))
            }
            Doing::Timeout { seconds, .. } => {
                Request::new("POST", format!("/sandboxes/{}/timeout", id()?)).json(&json!({ "timeout": seconds }))
            }
            _ => Request::new("DELETE", format!("/sandboxes/{}", id()?)),
        };
        Ok(request.key(&self.key))
    }

    fn body(&self, id: Option<&str>, policy: usize, seconds: u64) -> Value {
        let mut body = match &self.kind {
            Kind::Placed(sandbox) => at(sandbox, &network(policy)),
            _ => json!({ "templateID": "base", "network": network(policy) }),
        };
        body["timeout"] = json!(seconds);
        match (&self.kind, id) {
            // Somebody may open connections to it, so that there are flows to be kept.
            (Kind::Placed(_), _) => {
                (body["endOnTimeout"], body["inboundFrom"]) = (json!(true), json!(["203.0.113.99"]));
            }
            (_, Some(id)) => body["sandboxID"] = json!(id),
            _ => {}
        }
        body
    }

    fn send(&self, request: &Request, doing: &Doing) -> Result<Sent> {
        let reply = match request.send(&self.host, PORT) {
            Ok(reply) => reply,
            Err(_) => return Ok(Sent::Lost),
        };
        let expected = if matches!(doing, Doing::Create { .. }) { 201 } else { 204 };
        ensure!(reply.status == expected, "{reply:?}");
        Ok(Sent::Acknowledged(reply))
    }

    fn detaches(&mut self) -> Result<bool> {
        let id = self.known.as_ref().map(|known| known.id.clone()).context("there is no sandbox")?;
        let Ok((status, reply)) = self.local.ask("POST", &format!("/v1/sandboxes/{id}/detach"), "") else {
            return Ok(false);
        };
        ensure!(status == 200, "{reply}");
        self.known = None;
        Ok(true)
    }

    fn works_on_keys(&mut self, doing: &Doing) -> Result<bool> {
        if let (Doing::RevokeKey, Some((id, key))) = (doing, self.held.clone()) {
            let Ok((status, reply)) = self.local.ask("DELETE", &format!("/v1/keys/{id}"), "") else { return Ok(false) };
            ensure!(status == 200, "{reply}");
            self.revoked.push(key);
            self.held = None;
            return Ok(true);
        }
        let Ok((status, reply)) = self.local.ask("POST", "/v1/keys", r#"{"name":"under way"}"#) else {
            return Ok(false);
        };
        ensure!(status == 200, "{reply}");
        let field = |name: &str| reply[name].as_str().map(str::to_owned).context("no such field");
        self.held = Some((field("id")?, field("key")?));
        Ok(true)
    }

    /// Whether its sandbox is there, whatever becomes of the call under way.
    pub(crate) fn has_sandbox(&self) -> bool {
        self.known.is_some() && !matches!(self.pending, Some(Doing::Kill | Doing::Detach))
    }

    /// Whether a key lets in.
    pub(crate) fn lets_in(&self, key: &str) -> Result<bool> {
        let status = Request::new("GET", "/v2/sandboxes?limit=1").key(key).send(&self.host, PORT)?.status;
        ensure!(status == 200 || status == 401, "{status}");
        Ok(status == 200)
    }

    /// A sandbox as it is shown, if it is: else the status of the refusal.
    pub(crate) fn shown(&self, id: &str) -> Result<std::result::Result<Value, u16>> {
        let reply = Request::new("GET", format!("/sandboxes/{id}")).key(&self.key).send(&self.host, PORT)?;
        if reply.status == 200 { Ok(Ok(reply.json()?)) } else { Ok(Err(reply.status)) }
    }

    /// Sends a create call again that was not answered: there is one sandbox of it then, and it is known.
    pub(crate) fn creates_again(&mut self, doing: &Doing) -> Result<()> {
        ensure!(self.try_once(doing)?, "the daemon is gone");
        Ok(())
    }
}

/// The network configuration of a policy.
pub(crate) fn network(policy: usize) -> Value {
    let mut allowed = vec![ALLOWED[policy].to_string()];
    if policy == 2 {
        // More than the first page of a policy has room for.
        allowed.extend((0..200).map(|nth| format!("11.{nth}.0.1")));
    }
    json!({ "allowOut": allowed, "denyOut": ["0.0.0.0/0"] })
}

/// The policy that a network configuration is.
pub(crate) fn policy_of(network: &Value) -> Result<usize> {
    let found = (0..ALLOWED.len()).find(|policy| {
        let expected = self::network(*policy);
        network["allowOut"] == expected["allowOut"] && network["denyOut"] == expected["denyOut"]
    });
    found.with_context(|| format!("it is none of the policies: {network}"))
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}
