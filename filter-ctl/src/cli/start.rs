//! Starting the daemon.

use std::{
    env,
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{
    arguments::{Color, Common},
    error::exit,
    output::{self, Output},
};
use crate::daemon::{self, Options};

/// Where the configuration is unless the command line says so.
pub(super) const DEFAULT_CONFIG: &str = "/etc/sandbox-filter/config.yaml";

/// Runs the daemon until it is told to stop.
pub(super) fn run(
    common: &Common,
    config: Option<PathBuf>,
    state_dir: PathBuf,
    pin_dir: PathBuf,
    output: &mut Output,
) -> ExitCode {
    let options = Options {
        config_required: config.is_some(),
        config: config.unwrap_or_else(|| DEFAULT_CONFIG.into()),
        state_dir,
        pin_dir,
        socket: common.socket.clone(),
    };
    log(common);
    filter_dataplane::use_one_heap();
    // Two links a sandbox are held open, and two listeners with names.
    let most = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }) {
        tracing::warn!(%error, "cannot have more descriptors");
    }
    let ended = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(daemon::run(options)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if common.json => {
            tracing::error!("{error:#}");
            ExitCode::from(exit::REFUSED)
        }
        Err(error) => {
            output.aside(&output::error(&format!("{error:#}")));
            ExitCode::from(exit::REFUSED)
        }
    }
}

/// Tells what the daemon does on standard error. The journal has its own clock.
fn log(common: &Common) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let color = match common.color {
        Color::Auto => io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        Color::Always => true,
        Color::Never => false,
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(color);
    let log = log.with_target(false);
    if common.json {
        log.json().init();
    } else if env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init();
    } else {
        log.init();
    }
}
