//! A stage whose daemon answers over TCP.

use crate::{Reply, Request};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use test_scenarios::{RESOLVER, Setup, Stage};
use test_world::internet::{GOOGLE, WEB};
use test_world::{Node, Sandbox};

/// Where the daemon answers, on the host's loopback.
pub const PORT: u16 = 3000;

/// A stage whose daemon answers over TCP; with the names `example.test`, `other.test` and `inside.test`, at the resolvers that the daemon asks and
/// at the default nameserver.
pub struct Open {
    /// The stage.
    pub stage: Stage,
    /// An operator's key.
    pub operator: String,
    /// A key of a team.
    pub key: String,
}

impl Open {
    /// A stage with this in the operator's configuration, beside where the API listens.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub fn with(name: &str, config: &str) -> Result<Open> {
        Open::on(Stage::with(name, &Setup { config: &Open::config(config), ..Setup::default() })?)
    }

    /// An operator's configuration in which the daemon answers over TCP, with more of it.
    #[must_use]
    pub fn config(more: &str) -> String {
        format!("api: {{ listen: \"127.0.0.1:{PORT}\", domain: sandbox.test }}\nresolvers: [\"{RESOLVER}\"]\n{more}")
    }

    /// A stage whose daemon runs with such a configuration.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub fn on(stage: Stage) -> Result<Open> {
        let records = [("example.test", EXAMPLE), ("other.test", EXAMPLE), ("inside.test", INSIDE)];
        let resolver = stage.world.internet().dnsmasq(&[RESOLVER, IpAddr::from(GOOGLE)], &records)?;
        let stage = Stage { dnsmasq: Some(resolver), ..stage };
        let operator = new_key(&stage, &["operator", "--operator"])?;
        let key = new_key(&stage, &["team"])?;
        Ok(Open { stage, operator, key })
    }

    /// Another key.
    ///
    /// # Errors
    /// When there is none.
    pub fn another_key(&self, name: &str) -> Result<String> {
        new_key(&self.stage, &[name])
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn send(&self, request: &Request) -> Result<Reply> {
        request.send(self.stage.world.host(), PORT)
    }

    /// Sends bytes, and reads one answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn exchange(&self, bytes: &[u8]) -> Result<Reply> {
        crate::client::exchange(self.stage.world.host(), PORT, bytes)
    }

    /// A stage whose daemon makes sandboxes by itself.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub fn providing(name: &str) -> Result<Open> {
        Open::with(name, PROVIDER)
    }

    /// Has a sandbox made by the provider; `body` is the create call.
    ///
    /// # Errors
    /// When it is refused.
    pub fn create(&self, key: &str, body: &Value) -> Result<Provided> {
        let reply = self.send(&Request::new("POST", "/v2/sandboxes").key(key).json(body))?;
        ensure!(reply.status == 201, "{reply:?}");
        let made = reply.json()?;
        let id = made["sandboxID"].as_str().context("no id")?.to_owned();
        Ok(Provided { node: self.stage.world.adopt(&format!("sandbox-{id}"))?, id, made })
    }

    /// Creates a sandbox where the world has made one, as the operator.
    ///
    /// # Errors
    /// When it is refused.
    pub fn create_at(&self, sandbox: &Sandbox, network: &Value) -> Result<Value> {
        let reply =
            self.send(&Request::new("POST", "/v2/sandboxes").key(&self.operator).json(&at(sandbox, network)))?;
        ensure!(reply.status == 201, "{reply:?}");
        reply.json()
    }

    /// Replaces the network configuration of a sandbox.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn update(&self, key: &str, id: &str, network: &Value) -> Result<Reply> {
        self.send(&Request::new("PUT", format!("/sandboxes/{id}/network")).key(key).json(network))
    }

    /// Everything about a sandbox.
    ///
    /// # Errors
    /// When it is not there.
    pub fn info(&self, key: &str, id: &str) -> Result<Value> {
        let reply = self.send(&Request::new("GET", format!("/sandboxes/{id}")).key(key))?;
        ensure!(reply.status == 200, "{reply:?}");
        reply.json()
    }
}

impl Drop for Open {
    /// What the provider has made is not the world's: it would stay.
    fn drop(&mut self) {
        let all = self.send(&Request::new("GET", "/sandboxes").key(&self.operator)).and_then(|reply| reply.json());
        for id in all.iter().filter_map(Value::as_array).flatten().filter_map(|one| one["sandboxID"].as_str()) {
            // A daemon that a test has killed leaves them, for the world to remove.
            drop(self.send(&Request::new("DELETE", format!("/sandboxes/{id}")).key(&self.operator)));
        }
    }
}

/// The body of a create call for a sandbox that the world has made.
pub fn at(sandbox: &Sandbox, network: &Value) -> Value {
    let (id, v4, v6) = (sandbox.device.trim_start_matches("veth-"), sandbox.v4, sandbox.v6);
    json!({
        "templateID": "base", "sandboxID": id, "attach": { "interface": sandbox.device },
        "addresses": [v4.to_string(), v6.to_string()], "network": network,
    })
}

fn new_key(stage: &Stage, words: &[&str]) -> Result<String> {
    let words: Vec<&str> = ["key", "create"].iter().chain(words).copied().collect();
    let made: Value = serde_json::from_str(&stage.daemon.ctl(&words)?.ok()?.stdout)?;
    Ok(made["key"].as_str().context("no key")?.to_owned())
}

/// Where `inside.test` leads: into a protected range.
pub const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
/// Where `example.test` leads.
pub const EXAMPLE: IpAddr = IpAddr::V4(WEB);

/// A provider that makes namespaces behind the world's uplink.
pub const PROVIDER: &str =
    "provider: { netns: { pool: [203.0.114.0/26, \"2001:db8:77::/64\"], uplink: up0, connections: 64 } }\n";

/// A sandbox that the provider has made.
pub struct Provided {
    /// Its inside.
    pub node: Node,
    /// Its id.
    pub id: String,
    /// What the create call was answered.
    pub made: Value,
}
