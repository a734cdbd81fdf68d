//! What can go wrong when a sandbox is made or taken away.

use crate::CommandError;
use std::io;
use std::path::PathBuf;

/// A provider could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration makes no sense by itself.
    #[error("provider.{field}: {reason}")]
    Config {
        /// Path of the field below `provider`.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The configuration does not fit the host, or the host is not ready for it.
    #[error("provider.{field}: {reason}\n  hint: {hint}")]
    Host {
        /// Path of the field below `provider`.
        field: &'static str,
        /// What is in the way.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// Not an id: 1 to 32 of `a`–`z` and `0`–`9`.
    #[error("{0:?} is not the id of a sandbox: 1 to 32 of a-z and 0-9")]
    Id(String),
    /// There is such a sandbox, or something of its name, already. It was left as it is.
    #[error("sandbox {id}: {what} exists already")]
    Exists {
        /// The sandbox.
        id: String,
        /// What is there.
        what: String,
    },
    /// No addresses are left.
    #[error(
        "no addresses left in pool {pool}: {sandboxes} sandboxes\n  hint: end some, or give the provider a larger pool"
    )]
    PoolExhausted {
        /// The prefixes, as text.
        pool: String,
        /// How many sandboxes have some of it.
        sandboxes: usize,
    },
    /// A sandbox could not be made, and not everything that had been made could be taken away.
    #[error("{first}\n  and what had been made may be left: {second}")]
    Half {
        /// Why it could not be made.
        first: Box<Error>,
        /// Why something is left.
        second: Box<Error>,
    },
    /// The device of a sandbox is not there, or it is not the sandbox's.
    #[error("sandbox {id}: {reason}")]
    Device {
        /// The sandbox.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operator's command failed, or what it printed cannot be used.
    #[error("sandbox {id}: {action} by {command}: {reason}")]
    Exec {
        /// The sandbox.
        id: String,
        /// `create` or `destroy`.
        action: &'static str,
        /// The program.
        command: String,
        /// What went wrong.
        reason: String,
    },
    /// The firewall's table could not be changed.
    #[error(
        "nft: cannot {action}: {source}\n  hint: nftables must be installed, and the kernel have nft_masq, nft_connlimit and nft_reject"
    )]
    Firewall {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: CommandError,
    },
    /// The kernel refused something, or a namespace cannot be entered.
    #[error("sandbox provider: {0}")]
    Kernel(#[from] filter_dataplane::Error),
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
    /// Processes of a sandbox could not be ended. Its device is gone all the same.
    #[error("sandbox {id}: {left} processes in its namespace do not end")]
    Processes {
        /// The sandbox.
        id: String,
        /// How many were left.
        left: usize,
    },
}

impl Error {
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { action, path, source }
    }

    pub(crate) fn config(field: &'static str, reason: impl Into<String>) -> Error {
        Error::Config { field, reason: reason.into() }
    }
}
