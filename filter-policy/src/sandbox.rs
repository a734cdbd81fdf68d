//! A checked sandbox: who it is, where it is attached, what it may be and reach.
//!
//! Invariant: every value here passed [`validate`](crate::validate()); whether a device exists or an address is taken is for
//! the daemon to find out.

use std::{borrow::Borrow, fmt, net::IpAddr, path::PathBuf};

use ipnet::IpNet;

pub use crate::document::OnDeny;
use crate::policy::Policy;

/// A sandbox's id: 1 to 32 of `a`–`z` and `0`–`9`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SandboxId(String);

impl SandboxId {
    /// Longest id in bytes.
    pub const MAX_BYTES: usize = 32;

    /// The id, if `text` is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<SandboxId> {
        let good = (1..=Self::MAX_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        good.then(|| SandboxId(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Borrow<str> for SandboxId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A document that passed every check which needs nothing but the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Its id.
    pub id: SandboxId,
    /// Free text for people.
    pub name: Option<String>,
    /// Where its packets come from.
    pub attach: Attach,
    /// What it may send from.
    pub sources: Sources,
    /// The MAC address it must send from, in network order; `None`: not checked.
    pub mac: Option<[u8; 6]>,
    /// Addresses of its gateway, at most [`MAX_GATEWAYS`](filter_core::abi::SandboxConfig::MAX_GATEWAYS); empty: those of the
    /// device or of its bridge.
    pub gateway: Vec<IpAddr>,
    /// Whether DHCP and router solicitation with the gateway pass.
    pub dhcp: bool,
    /// Who may open connections to it. `0.0.0.0/0` is IPv4 only here.
    pub inbound_from: Vec<IpNet>,
    /// What a denied packet gets.
    pub on_deny: OnDeny,
    /// Who it may send to.
    pub policy: Policy,
    /// How its public URLs behave.
    pub ingress: Ingress,
}

/// Where a sandbox is attached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attach {
    /// A device of the host's side, in a namespace or in the daemon's own.
    Interface {
        /// Name of the device, at most 15 bytes.
        name: String,
        /// The namespace that it is in.
        netns: Option<NetnsRef>,
    },
    /// The host's side of every link that leaves this namespace.
    Netns(NetnsRef),
    /// A cgroup (version 2).
    Cgroup {
        /// Its absolute path.
        path: PathBuf,
        /// Whether processes in it may have capabilities that lead around its hooks.
        allow_privileged: bool,
    },
}

/// How a network namespace is named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NetnsRef {
    /// A name under `/run/netns`.
    Name(String),
    /// An absolute path of a bind-mounted namespace or a `/proc` entry.
    Path(PathBuf),
    /// The namespace of a process.
    Pid(u32),
}

impl fmt::Display for NetnsRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetnsRef::Name(name) => f.write_str(name),
            NetnsRef::Path(path) => write!(f, "{}", path.display()),
            NetnsRef::Pid(pid) => write!(f, "pid:{pid}"),
        }
    }
}

/// What a sandbox may send from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Anything: the source check is off.
    Any,
    /// These prefixes, 1 to [`MAX_SOURCES`](filter_core::abi::SandboxConfig::MAX_SOURCES), none twice.
    Prefixes(Vec<IpNet>),
}

/// How a sandbox's public URLs behave. Kept as written; the gateway serves them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Whether public URLs work without the traffic token.
    pub allow_public_traffic: bool,
    /// Host header for the service; `${PORT}` stands for the port.
    pub mask_request_host: Option<String>,
    /// Ports of the sandbox that speak TLS themselves.
    pub https_ports: Vec<u16>,
}
