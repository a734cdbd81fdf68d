//! The options of `run`.

use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// A command, and what it may reach.
#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    /// An address, a CIDR or a name that it may reach; names need `--deny-out 0.0.0.0/0`
    #[arg(long = "allow-out", value_name = "ENTRY")]
    pub(super) allow_out: Vec<String>,
    /// An address or a CIDR that it may not reach; 0.0.0.0/0 means everything, IPv6 too
    #[arg(long = "deny-out", value_name = "ENTRY")]
    pub(super) deny_out: Vec<String>,
    /// A file with the policy: a document, or what stands in its `network`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["allow_out", "deny_out"])]
    pub(super) policy: Option<PathBuf>,
    /// Use the host's network, in a cgroup, instead of a network namespace
    #[arg(long)]
    pub(super) cgroup: bool,
    /// Let it have the capabilities that lead out of the sandbox
    #[arg(long)]
    pub(super) keep_capabilities: bool,
    /// Allow everything, and print at the end a policy of what it has reached
    #[arg(long, conflicts_with_all = ["allow_out", "deny_out", "policy"])]
    pub(super) learn: bool,
    /// Write what came of it to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}
