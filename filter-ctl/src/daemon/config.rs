//! The operator's configuration file.

use anyhow::{Context, bail};
use filter_policy::{Limits, Operator};
use ipnet::IpNet;
use serde::Deserialize;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// What the operator decides for the whole host.
#[derive(Clone, Debug, Default)]
pub(super) struct Config {
    /// What concerns policies.
    pub operator: Operator,
    /// How many denials are told.
    pub events: EventLimits,
}

/// Limits on the deny events of one sandbox.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct EventLimits {
    /// Events a second and CPU.
    pub per_second: u32,
    /// Events at once on a CPU.
    pub burst: u32,
}

impl EventLimits {
    /// More than any ring can hold; the kernel's sums stay far from overflow.
    const MOST: u32 = 1_000_000;
}

impl Default for EventLimits {
    fn default() -> EventLimits {
        EventLimits { per_second: 50, burst: 100 }
    }
}

/// The file's fields; those that are missing have their defaults.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    open_ranges: Option<Vec<IpNet>>,
    nameservers: Option<Vec<IpAddr>>,
    limits: Option<Limits>,
    events: Option<EventLimits>,
}

/// Reads the configuration; a missing file means the defaults unless it is `required`.
pub(super) fn read(path: &Path, required: bool) -> anyhow::Result<Config> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => return Ok(Config::default()),
        other => other.with_context(|| format!("cannot read the configuration {}", path.display()))?,
    };
    if text.trim().is_empty() {
        return Ok(Config::default());
    }
    let file: File = match serde_saphyr::from_str(&text) {
        Ok(file) => file,
        Err(error) => bail!("{}: {error}", path.display()),
    };
    let events = file.events.unwrap_or_default();
    if events.per_second > EventLimits::MOST || events.burst > EventLimits::MOST {
        bail!("{}: events: perSecond and burst may be {} at most", path.display(), EventLimits::MOST);
    }
    let standard = Operator::default();
    Ok(Config {
        operator: Operator {
            open_ranges: file.open_ranges.unwrap_or_default().iter().map(IpNet::trunc).collect(),
            nameservers: file.nameservers.unwrap_or(standard.nameservers),
            limits: file.limits.unwrap_or_default(),
        },
        events,
    })
}
