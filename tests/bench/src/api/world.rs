//! A daemon with many sandboxes, and a key of its operator.

use super::client::Client;
use crate::control::daemon::Daemon;
use crate::control::many::document;
use crate::control::yard::Yard;
use anyhow::{Context, Result, ensure};
use filter_ctl::api::State;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Where it answers, in the yard's namespace.
const LISTEN: &str = "127.0.0.1:3000";
/// Those that come in one call.
const AT_ONCE: u32 = 250;

/// A daemon with many sandboxes.
pub(super) struct World {
    pub(super) yard: Yard,
    pub(super) daemon: Daemon,
    pub(super) count: u32,
    key: String,
}

impl World {
    /// A daemon with so many sandboxes.
    pub(super) fn new(count: u32) -> Result<World> {
        let yard = Yard::new(count)?;
        let daemon = Daemon::start("api", &yard.netns, &format!("api: {{ listen: \"{LISTEN}\" }}\n"))?;
        let local = daemon.local();
        for first in (0..count).step_by(AT_ONCE as usize) {
            let documents: Vec<Value> = (first..(first + AT_ONCE).min(count)).map(|at| document(at, 0)).collect();
            local.apply(&documents)?;
        }
        let asked = json!({ "name": "bench", "operator": true }).to_string();
        let made: Value = local.done("POST", "/v1/keys", &asked)?;
        let key = made["key"].as_str().context("no key")?.to_owned();
        Ok(World { yard, daemon, count, key })
    }

    /// A client of the API.
    pub(super) fn client(&self) -> Result<Client> {
        let to: SocketAddr = LISTEN.parse()?;
        self.yard.netns.within(|| Client::connect(to, &self.key))
    }

    /// Sandboxes that are enforced.
    pub(super) fn active(&self) -> Result<usize> {
        let all = self.daemon.local().list()?;
        ensure!(all.len() == self.count as usize, "{} of {} sandboxes are there", all.len(), self.count);
        Ok(all.values().filter(|one| one.state == State::Active).count())
    }
}

/// The network configuration of an update: ten entries, of which one is another each time.
pub(super) fn network(version: u32) -> String {
    let mut allowed: Vec<String> = (0..8).map(|at| format!("203.0.{at}.0/24")).collect();
    allowed.push(format!("192.0.{}.{}", version >> 8 & 0xff, version & 0xff));
    json!({ "denyOut": ["0.0.0.0/0"], "allowOut": allowed }).to_string()
}
