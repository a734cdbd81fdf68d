//! Where an attacker is, and what holds it.

use crate::case::{Policy, Rights};
use crate::nftables;
use crate::target::ALLOWED_NAME;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};
use test_scenarios::Daemon;
use test_world::internet::{WEB, WEB6};
use test_world::{Cgroup, Node, Sandbox};

/// How a sandbox is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A namespace behind a device; the attacker is root in it.
    Tc,
    /// A cgroup on the host's network; the attacker is nobody in it.
    Cgroup,
}

/// What holds an attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filter {
    /// Nothing.
    Off,
    /// The filter.
    Ours,
    /// A rule set of nftables.
    Nftables,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 2] = [Mode::Tc, Mode::Cgroup];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Tc => "tc",
            Mode::Cgroup => "cgroup",
        }
    }

    /// Whether an attacker there has these rights.
    pub fn has(self, rights: Rights) -> bool {
        match rights {
            Rights::Any => true,
            Rights::Root => self == Mode::Tc,
            Rights::Shared => self == Mode::Cgroup,
        }
    }
}

impl Filter {
    /// All of them.
    pub(crate) const ALL: [Filter; 3] = [Filter::Off, Filter::Ours, Filter::Nftables];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Filter::Off => "off",
            Filter::Ours => "ours",
            Filter::Nftables => "nft",
        }
    }
}

/// Where the addresses are that are denied, as routes.
pub(crate) const DENIED: [&str; 2] = ["203.0.120.0/21", "2001:db8:20::/64"];

/// Addresses that are denied, one of each family, and that no other attempt is to reach: what one lets pass late is not taken for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Denied(pub(crate) Ipv4Addr, pub(crate) Ipv6Addr);

impl Denied {
    pub(crate) fn of(attempt: u32) -> Denied {
        let v4 = Ipv4Addr::from(u32::from(Ipv4Addr::new(203, 0, 120, 1)) + attempt % 2_000);
        let v6 = Ipv6Addr::from(u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 1)) + u128::from(attempt));
        Denied(v4, v6)
    }
}

/// Where an attacker is.
pub(crate) enum Place {
    /// A namespace of its own.
    Netns(Sandbox),
    /// A cgroup, which is gone with this.
    Cgroup(Cgroup),
}

/// A sandbox for attackers.
pub(crate) struct Subject {
    pub(crate) filter: Filter,
    pub(crate) place: Place,
    /// Whether this policy holds.
    policy: Option<Policy>,
}

impl Subject {
    pub(crate) fn new(filter: Filter, place: Place) -> Subject {
        Subject { filter, place, policy: None }
    }

    /// Makes a policy hold.
    pub(crate) fn apply(&mut self, policy: Policy, denied: Denied, daemon: &Daemon, host: &Node) -> Result<()> {
        if self.policy == Some(policy) && !matches!(policy, Policy::Tightened | Policy::Listed) {
            return Ok(());
        }
        let begins = if policy == Policy::Tightened { Policy::Everything } else { policy };
        self.put(begins, denied, daemon, host)?;
        self.policy = Some(policy);
        Ok(())
    }

    /// Takes away what would change things for others.
    pub(crate) fn retire(&mut self, host: &Node) -> Result<()> {
        if self.filter == Filter::Nftables {
            self.policy = None;
            nftables::remove(host, self)?;
        }
        Ok(())
    }

    /// Makes [`Policy::Tightened`] what it is called.
    pub(crate) fn tighten(&self, denied: Denied, daemon: &Daemon, host: &Node) -> Result<()> {
        self.put(Policy::Addresses, denied, daemon, host)
    }

    fn put(&self, policy: Policy, denied: Denied, daemon: &Daemon, host: &Node) -> Result<()> {
        match self.filter {
            Filter::Off => Ok(()),
            Filter::Ours => daemon.apply(&self.document(policy, denied)).map(drop),
            Filter::Nftables => nftables::apply(host, self, policy, denied),
        }
    }

    fn document(&self, policy: Policy, denied: Denied) -> String {
        let network = network(policy, denied);
        match &self.place {
            Place::Netns(sandbox) => test_scenarios::document(sandbox, &network),
            Place::Cgroup(cgroup) => format!(
                "version: 1\nid: held\nattach: {{ cgroup: {} }}\naddresses: any\nnetwork: {{ {network} }}\n",
                cgroup.path().display()
            ),
        }
    }
}

/// The inside of a document's `network`.
fn network(policy: Policy, denied: Denied) -> String {
    match policy {
        Policy::Addresses => format!(r#"denyOut: ["0.0.0.0/0"], allowOut: ["{WEB}", "{WEB6}"]"#),
        Policy::Names => {
            let rebound = crate::target::REBOUND_NAME;
            format!(r#"denyOut: ["0.0.0.0/0"], allowOut: ["{ALLOWED_NAME}", "{rebound}"]"#)
        }
        Policy::Listed => format!(r#"denyOut: ["{}", "{}"]"#, denied.0, denied.1),
        Policy::Everything | Policy::Tightened => r#"allowOut: ["0.0.0.0/0"]"#.to_owned(),
    }
}
