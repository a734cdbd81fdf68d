//! What an attacker knows of where it is, and what it is to reach.

use crate::case::Family;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use test_world::wait_until;

/// The name that policies with names allow.
pub(crate) const ALLOWED_NAME: &str = "allowed.test";
/// The name in `allowOut` whose addresses are protected.
pub(crate) const REBOUND_NAME: &str = "rebound.test";
/// Where it leads.
pub(crate) const REBOUND: [&str; 2] = ["10.66.0.1", "fd66::1"];
/// Where relays listen.
pub(crate) const RELAY: u16 = 3128;
/// Where nothing but UDP is looked for.
pub(crate) const PORT: u16 = 9000;

/// One family's part of an attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// The family.
    pub family: Family,
    /// An address that is denied, and that no other attempt is to reach. Who is there listens.
    pub denied: IpAddr,
    /// The one of IPv4.
    pub denied_v4: Ipv4Addr,
    /// One that is allowed, by its address or a name. Who is there listens as well.
    pub allowed: IpAddr,
    /// What the witness looks for: bytes that nobody else sends, fit for a label of a name.
    pub canary: String,
    /// The attacker's own address.
    pub own: IpAddr,
    /// Its device, with its MAC address and that of its gateway; on the host's network the way to the internet.
    pub device: String,
    /// The MAC address of the device.
    pub own_mac: [u8; 6],
    /// That of the gateway.
    pub gateway_mac: [u8; 6],
    /// Where the host can be reached: its gateway, or loopback.
    pub host: IpAddr,
    /// The address of another sandbox, which nothing holds.
    pub neighbour: IpAddr,
    /// Is there once the policy is [`Policy::Tightened`](crate::Policy::Tightened).
    pub tightened: PathBuf,
}

impl Target {
    /// A port of the address that is denied.
    pub(crate) fn denied(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.denied, port)
    }

    /// A port of the address that is allowed.
    pub(crate) fn allowed(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.allowed, port)
    }

    /// A name that no entry covers, with the canary in it.
    pub(crate) fn denied_name(&self) -> String {
        format!("{}.evil.test", self.canary)
    }

    /// The halves of the address of IPv4 that is denied, to be put into one of IPv6.
    pub(crate) fn denied_halves(&self) -> [u16; 2] {
        let [a, b, c, d] = self.denied_v4.octets();
        [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
    }

    /// Whether this is the part with IPv4.
    pub(crate) fn is_v4(&self) -> bool {
        self.family == Family::V4
    }

    /// Waits until the policy is tightened.
    pub(crate) fn wait(&self) -> Result<()> {
        println!("ready");
        ensure!(wait_until(Duration::from_secs(20), || self.tightened.exists()), "nobody tightens the policy");
        Ok(())
    }

    /// As it goes from the arena to the attacker.
    pub(crate) fn many(text: &str) -> Result<Vec<Target>> {
        serde_json::from_str(text).context("the targets")
    }
}
