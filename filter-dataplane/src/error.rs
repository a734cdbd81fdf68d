//! What can fail between userspace and the kernel, and what to do about it.

use std::io;
use std::path::PathBuf;

/// A failed operation on the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process lacks a right or the kernel an option that the filter cannot do without.
    #[error("{missing}\n  hint: {hint}")]
    Unsupported {
        /// What is missing, found by probing.
        missing: String,
        /// What to do about it.
        hint: String,
    },
    /// Other daemon's pins of another version are in the way; enforcement by them goes on.
    #[error(
        "{path} holds pins of ABI {found}, and this daemon speaks ABI {}; enforcement was left as it is\n  hint: run the version that made them, or remove them once their sandboxes are gone",
        filter_core::abi::VERSION
    )]
    ForeignAbi {
        /// The pin directory.
        path: PathBuf,
        /// The version found there.
        found: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The kernel program was refused.
    #[error("the kernel refused a program: {0}")]
    Program(#[from] Box<aya::programs::ProgramError>),
    /// The object could not be loaded.
    #[error("the kernel program cannot be loaded: {0}")]
    Object(#[from] Box<aya::EbpfError>),
    /// A map operation failed.
    #[error("map {map}: {source}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// Why it failed.
        source: Box<aya::maps::MapError>,
    },
    /// A `bpf(2)` command that has no wrapper failed.
    #[error("bpf {command} on {object}: {source}")]
    Syscall {
        /// The command.
        command: &'static str,
        /// What it was for.
        object: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Attaching to or detaching from a device failed.
    #[error("device {device}: cannot {action}: {reason}")]
    Link {
        /// Name of the device.
        device: String,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        reason: String,
    },
    /// Attaching to the cgroup of the sidecar failed.
    #[error("cgroup of the sidecar: cannot attach to it: {0}")]
    Cgroup(String),
    /// Attaching what finds listeners to a namespace failed.
    #[error("{namespace}: cannot attach the program that finds listeners: {why}")]
    Lookup {
        /// The namespace.
        namespace: String,
        /// The kernel's words.
        why: String,
    },
    /// A netlink request failed.
    #[error("netlink: cannot {action}: {reason}")]
    Netlink {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        reason: String,
    },
    /// A socket could not be made.
    #[error("cannot {action}: {source}")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The device of an attachment cannot be used.
    #[error("{0}")]
    Device(#[from] DeviceError),
    /// A slot that should hold a sandbox does not.
    #[error("slot {slot} is empty in the kernel: its pins were removed by somebody else")]
    Empty {
        /// The slot.
        slot: u32,
    },
    /// All nodes are taken.
    #[error("no room: the policies of this daemon's sandboxes already take {} nodes\n  hint: shorten the longest lists", filter_core::abi::CHUNKS * filter_core::abi::CHUNK_NODES)]
    NoNodes,
    /// All slots are taken.
    #[error("no room: this daemon already holds {} sandboxes", filter_core::abi::MAX_SANDBOXES - 2)]
    Full,
}

/// Why a device cannot be attached.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The namespace does not exist.
    #[error("network namespace {0} does not exist")]
    NoNamespace(String),
    /// The device does not exist.
    #[error("interface {device} does not exist in {namespace}")]
    Missing {
        /// Name of the device.
        device: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// The device is no Ethernet device.
    #[error("interface {device} is {kind}: only Ethernet devices (veth, TAP) can be attached")]
    NotEthernet {
        /// Name of the device.
        device: String,
        /// What it is instead.
        kind: String,
    },
    /// The loopback device.
    #[error("interface {0} is the loopback device, which belongs to no sandbox")]
    Loopback(String),
    /// The host's own way out.
    #[error("interface {0} has the host's default route: attaching it would cut the host off")]
    DefaultRoute(String),
    /// The namespace has several ways out, or one that cannot be followed.
    #[error("network namespace {namespace}: {reason}")]
    NoPeer {
        /// The namespace.
        namespace: String,
        /// Why its host-side device was not found.
        reason: String,
    },
}

impl Error {
    pub(crate) fn map(map: &'static str) -> impl FnOnce(aya::maps::MapError) -> Error {
        move |source| Error::Map { map, source: Box::new(source) }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { action, path, source }
    }
}

impl From<aya::programs::ProgramError> for Error {
    fn from(error: aya::programs::ProgramError) -> Error {
        Error::Program(Box::new(error))
    }
}

impl From<aya::EbpfError> for Error {
    fn from(error: aya::EbpfError) -> Error {
        Error::Object(Box::new(error))
    }
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
