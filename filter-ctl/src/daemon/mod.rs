//! The node agent: the only writer of BPF maps, netlink and the store.

use std::path::PathBuf;

/// Where a daemon finds and keeps its things.
#[derive(Clone, Debug)]
pub struct Options {
    /// The operator's configuration; a file that is missing means the defaults, unless it was named on the command line.
    pub config: PathBuf,
    /// Whether `config` was named on the command line.
    pub config_required: bool,
    /// Where documents are kept.
    pub state_dir: PathBuf,
    /// Where kernel objects are pinned, in a BPF filesystem.
    pub pin_dir: PathBuf,
    /// The socket of the local API.
    pub socket: PathBuf,
}

/// Runs the daemon until it is told to stop (SIGTERM, SIGINT). Enforcement goes on after it.
///
/// # Errors
/// When it cannot start; the message says what is missing and what to do.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let _ = options;
    anyhow::bail!("not yet")
}
