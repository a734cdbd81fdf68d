//! `config`: the operator's configuration, without a daemon.

use std::{path::Path, process::ExitCode};

use serde::Serialize;

use super::{
    arguments::ConfigCommand,
    error::Failure,
    output::{GOOD, Output, paint, plain},
};
use crate::{api::ErrorReply, daemon::config};

/// What `config check --json` prints.
#[derive(Serialize)]
struct Checked<'a> {
    file: &'a Path,
}

pub(super) fn run(command: ConfigCommand, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        ConfigCommand::Print => output.text(config::COMMENTED)?,
        ConfigCommand::Check { file } => check(&file, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn check(file: &Path, output: &mut Output) -> Result<(), Failure> {
    let hint = "filter-ctl config print shows every field with its default";
    config::read(file, true).map_err(|error| {
        let (message, hint) = (format!("{error:#}"), Some(hint.to_owned()));
        Failure::refused(ErrorReply { code: 0, message, hint, problems: Vec::new() })
    })?;
    if output.json {
        output.json(&Checked { file })
    } else {
        output.text(&format!("{}  {}\n", paint(GOOD, "ok"), plain(&file.display().to_string())))
    }
}
