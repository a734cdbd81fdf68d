//! The operator's configuration file.

use super::providing::Template;
use anyhow::{Context, bail};
use filter_dataplane::HookKind;
use filter_policy::{Limits, Operator};
use ipnet::IpNet;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// A configuration with every field, its default, and what it is for.
pub(crate) const COMMENTED: &str = include_str!("../../../packaging/config.yaml");

/// What the operator decides for the whole host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// What concerns policies.
    pub operator: Operator,
    /// How many denials are told.
    pub events: Rate,
    /// How many denied packets are answered.
    pub rejects: Rate,
    /// The bits of packet marks that are the filter's.
    pub marks: Marks,
    /// How many connections that came in one sandbox may have at a time.
    pub flows: Flows,
    /// How programs are attached to devices.
    pub hook: Hook,
    /// Who resolves names for the sidecar; the host's resolvers where nothing is said.
    pub resolvers: Vec<IpAddr>,
    /// The host's addresses that the sidecar's connections come from, in turns; what the kernel chooses where nothing is said.
    pub sources: Vec<IpAddr>,
    /// What one sandbox may have the sidecar do.
    pub sidecar: filter_sidecar::Limits,
    /// The API over TCP; none where nothing is said.
    pub api: Option<ApiConfig>,
    /// Where metrics are told; nowhere where nothing is said.
    pub metrics: Option<MetricsConfig>,
    /// Where connections are logged; nowhere where nothing is said.
    pub connections: Option<ConnectionsConfig>,
    /// What makes sandboxes that are asked for without saying where they are attached.
    pub provider: Option<filter_provider::Config>,
    /// The kinds of sandboxes that there are.
    pub templates: BTreeMap<String, Template>,
}

/// The API over TCP.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ApiConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The domain that sandboxes have public URLs under.
    pub domain: Option<String>,
    /// What clients are told of the agent inside sandboxes.
    pub envd_version: String,
    /// Its certificate; none: it speaks no TLS.
    pub tls: Option<TlsFiles>,
}

impl Default for ApiConfig {
    fn default() -> ApiConfig {
        ApiConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 3_000)),
            domain: None,
            envd_version: "0.2.0".to_owned(),
            tls: None,
        }
    }
}

/// Where metrics, health and readiness are told.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct MetricsConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether decisions are told sandbox by sandbox.
    pub per_sandbox: bool,
}

impl Default for MetricsConfig {
    fn default() -> MetricsConfig {
        MetricsConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9_464)), per_sandbox: false }
    }
}

/// Where connections are logged.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ConnectionsConfig {
    /// The file, by its absolute path.
    pub file: PathBuf,
    /// How long it gets before another one is begun, in bytes; the last one is kept beside it.
    #[serde(default = "ConnectionsConfig::max_bytes")]
    pub max_bytes: u64,
}

impl ConnectionsConfig {
    /// Room for what is written at once.
    const LEAST_BYTES: u64 = 1 << 20;

    fn max_bytes() -> u64 {
        64 << 20
    }

    /// Checks what an operator has written.
    fn checked(self) -> anyhow::Result<ConnectionsConfig> {
        if !self.file.is_absolute() {
            bail!("connections: file must be an absolute path, not {}", self.file.display());
        }
        if self.max_bytes < Self::LEAST_BYTES {
            bail!("connections: maxBytes must be {} at least", Self::LEAST_BYTES);
        }
        Ok(self)
    }
}

/// A certificate and its key, both PEM files.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TlsFiles {
    /// The chain, its own certificate first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// How programs are attached to devices. A sandbox that is attached already stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Hook {
    /// TCX where that works, found by trying; else clsact.
    #[default]
    Auto,
    /// TCX links.
    Tcx,
    /// Filters of a clsact qdisc.
    Clsact,
}

impl Hook {
    /// What the operator has chosen; `None` leaves it to the kernel.
    pub(crate) fn chosen(self) -> Option<HookKind> {
        match self {
            Hook::Auto => None,
            Hook::Tcx => Some(HookKind::Tcx),
            Hook::Clsact => Some(HookKind::Clsact),
        }
    }
}

/// Connections that came in which one sandbox may have at a time.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Flows(pub u32);

impl Default for Flows {
    fn default() -> Flows {
        Flows(filter_core::abi::FLOWS)
    }
}

/// The filter's bits of packet marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Marks {
    /// The bits that are the filter's; it reads and writes no others.
    pub mask: u32,
    /// What they hold in packets of the filter's own sockets.
    pub own: u32,
    /// What they hold in packets that are handed to the sidecar.
    pub capture: u32,
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { mask: 0xf0, own: 0x50, capture: 0x60 }
    }
}

impl From<Marks> for filter_dataplane::Marks {
    fn from(Marks { mask, own, capture }: Marks) -> filter_dataplane::Marks {
        filter_dataplane::Marks { mask, own, capture }
    }
}

/// A limit on what one sandbox may cause.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Rate {
    /// How often a second and CPU.
    pub per_second: u32,
    /// How often at once on a CPU.
    pub burst: u32,
}

impl Rate {
    /// More than any ring can hold; the kernel's sums stay far from overflow.
    const MOST: u32 = 1_000_000;
}

impl Default for Rate {
    fn default() -> Rate {
        Rate { per_second: 50, burst: 100 }
    }
}

/// The file's fields; those that are missing have their defaults.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    open_ranges: Option<Vec<IpNet>>,
    nameservers: Option<Vec<IpAddr>>,
    limits: Option<Limits>,
    events: Option<Rate>,
    rejects: Option<Rate>,
    marks: Option<Marks>,
    flows_per_sandbox: Option<Flows>,
    hook: Option<Hook>,
    resolvers: Option<Vec<IpAddr>>,
    sources: Option<Vec<IpAddr>>,
    sidecar: Option<filter_sidecar::Limits>,
    api: Option<ApiConfig>,
    metrics: Option<MetricsConfig>,
    connections: Option<ConnectionsConfig>,
    provider: Option<filter_provider::Config>,
    templates: Option<BTreeMap<String, Template>>,
}

/// Reads the configuration; a missing file means the defaults unless it is `required`.
pub(crate) fn read(path: &Path, required: bool) -> anyhow::Result<Config> {
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
    let (events, rejects) = (file.events.unwrap_or_default(), file.rejects.unwrap_or_default());
    for (name, rate) in [("events", events), ("rejects", rejects)] {
        if rate.per_second > Rate::MOST || rate.burst > Rate::MOST {
            bail!("{}: {name}: perSecond and burst may be {} at most", path.display(), Rate::MOST);
        }
    }
    let marks = file.marks.unwrap_or_default();
    if [marks.own, marks.capture].iter().any(|mark| *mark == 0 || mark & !marks.mask != 0) || marks.own == marks.capture
    {
        bail!("{}: marks: own and capture must differ, not be 0, and have no bits outside mask", path.display());
    }
    let connections = file.connections.map(ConnectionsConfig::checked).transpose();
    let standard = Operator::default();
    Ok(Config {
        operator: Operator {
            open_ranges: file.open_ranges.unwrap_or_default().iter().map(IpNet::trunc).collect(),
            nameservers: file.nameservers.unwrap_or(standard.nameservers),
            limits: file.limits.unwrap_or_default(),
        },
        events,
        rejects,
        marks,
        flows: file.flows_per_sandbox.unwrap_or_default(),
        hook: file.hook.unwrap_or_default(),
        resolvers: file.resolvers.unwrap_or_default(),
        sources: file.sources.unwrap_or_default(),
        sidecar: sidecar(file.sidecar.unwrap_or_default()).with_context(|| path.display().to_string())?,
        api: file.api,
        metrics: file.metrics,
        connections: connections.with_context(|| path.display().to_string())?,
        provider: file.provider,
        templates: file.templates.unwrap_or_default(),
    })
}

/// Checks the sidecar's limits: none of them may be nothing.
fn sidecar(limits: filter_sidecar::Limits) -> anyhow::Result<filter_sidecar::Limits> {
    let filter_sidecar::Limits {
        sockets,
        unjudged,
        patience_ms,
        buffered_bytes,
        lookups,
        cached_names,
        told_per_second,
    } = limits;
    // A connection has two sockets.
    let is_enough = sockets >= 2 && unjudged >= 1 && lookups >= 1 && cached_names >= 1;
    if !is_enough || patience_ms < 100 || buffered_bytes < 1 << 20 || told_per_second > Rate::MOST {
        bail!(
            "sidecar: sockets must be 2 at least, unjudged, lookups and cachedNames 1, patienceMs 100, bufferedBytes 1048576; \
             toldPerSecond may be {} at most",
            Rate::MOST
        );
    }
    Ok(limits)
}

#[cfg(test)]
mod tests;
