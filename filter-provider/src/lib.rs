//! Where sandboxes come from when somebody asks for one without saying where it is attached.
//!
//! The operator chooses one of two providers. [`netns`] makes a network namespace with a link to the host, addresses, routes, address
//! translation and a limit of connections. [`exec`] asks the operator's own command, which may start a microVM, call a
//! scheduler, or anything else.
//!
//! Invariant: nothing leaves a sandbox before the filter is on its device. A provider makes the device switched off; the caller attaches the
//! filter and then calls [`Provider::start`]. All calls block, and calls for different sandboxes may come at the same time; calls
//! for one sandbox are for the caller to put in order. Needs `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`.
#![forbid(unsafe_code)]

mod command;
mod devices;
mod error;
pub mod exec;
mod made;
pub mod netns;

pub use command::CommandError;
pub use error::Error;
pub use made::{Ask, Made};

use filter_policy::SandboxId;
use ipnet::IpNet;
use serde::Deserialize;
use std::collections::BTreeSet;

/// What the operator has chosen.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Config {
    /// Network namespaces on this host.
    Netns(netns::Config),
    /// A command.
    Exec(exec::Config),
}

/// Makes sandboxes and takes them away.
pub enum Provider {
    /// Network namespaces on this host.
    Netns(netns::Netns),
    /// A command.
    Exec(exec::Exec),
}

impl Provider {
    /// Checks a configuration against the host, in the network namespace of the calling thread, which is the one that is meant from
    /// then on. Changes nothing, unless there are sandboxes already: then their firewall table is made what the configuration says.
    ///
    /// # Errors
    /// [`Error::Config`] and [`Error::Host`] say what has to change.
    pub fn new(config: &Config) -> Result<Provider, Error> {
        Ok(match config {
            Config::Netns(config) => Provider::Netns(netns::Netns::new(config)?),
            Config::Exec(config) => Provider::Exec(exec::Exec::new(config)?),
        })
    }

    /// Makes a sandbox whose device is switched off.
    ///
    /// # Errors
    /// What went wrong; nothing is left behind then, or the error says what.
    pub fn create(&self, ask: &Ask) -> Result<Made, Error> {
        check_id(&ask.id)?;
        match self {
            Provider::Netns(netns) => netns.create(&ask.id),
            Provider::Exec(exec) => exec.create(ask),
        }
    }

    /// Switches the device on, now that the filter is on it. One that is on already stays as it is.
    ///
    /// # Errors
    /// When the device is gone, or what the kernel refused.
    pub fn start(&self, id: &str, made: &Made) -> Result<(), Error> {
        check_id(id)?;
        match self {
            Provider::Netns(netns) => netns.start(id, made),
            Provider::Exec(exec) => exec.start(id, made),
        }
    }

    /// Takes a sandbox away, and whatever there is of one that was half made. Fine when there is nothing.
    ///
    /// # Errors
    /// What could not be removed; all else is gone, and the call can be repeated.
    pub fn destroy(&self, id: &str) -> Result<(), Error> {
        check_id(id)?;
        match self {
            Provider::Netns(netns) => netns.destroy(id),
            Provider::Exec(exec) => exec.destroy(id),
        }
    }

    /// Tells of a sandbox that was made by an earlier process: what it has is taken.
    pub fn recall(&self, id: &str, made: &Made) {
        match self {
            Provider::Netns(netns) => netns.recall(id, made),
            Provider::Exec(_) => {}
        }
    }

    /// Makes again what somebody has removed of what all sandboxes need on the host, and of their files; for now and then. Tells what it was. A
    /// command's sandboxes are its own business.
    ///
    /// # Errors
    /// What could not be looked at or made. The call can be repeated.
    pub fn look(&self) -> Result<Vec<String>, Error> {
        match self {
            Provider::Netns(netns) => netns.look(),
            Provider::Exec(_) => Ok(Vec::new()),
        }
    }

    /// Ids of sandboxes that exist and are not `known`, in order. A command's sandboxes cannot be listed: none.
    ///
    /// # Errors
    /// When the devices cannot be listed.
    pub fn strays(&self, known: &BTreeSet<String>) -> Result<Vec<String>, Error> {
        match self {
            Provider::Netns(netns) => netns.strays(known),
            Provider::Exec(_) => Ok(Vec::new()),
        }
    }

    /// The prefixes that addresses are given from, for the caller to protect as a whole; none for a command.
    #[must_use]
    pub fn pools(&self) -> &[IpNet] {
        match self {
            Provider::Netns(netns) => netns.pools(),
            Provider::Exec(_) => &[],
        }
    }
}

fn check_id(id: &str) -> Result<(), Error> {
    SandboxId::parse(id).map(drop).ok_or_else(|| Error::Id(id.chars().take(40).collect()))
}
