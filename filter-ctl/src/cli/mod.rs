//! The command line: a thin client of the daemon, and the way to start it.
//!
//! Invariant: a command writes its result to standard output and everything else to standard error, and never asks anything.

mod apply;
mod arguments;
mod check;
mod client;
mod config;
mod denials;
mod destination;
mod doctor;
mod documents;
mod end;
mod error;
mod explain;
mod get;
mod key;
mod output;
mod purge;
mod run;
mod start;
mod summary;
mod watch;

use std::{path::Path, process::ExitCode};

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command, Common};
use client::Client;
use error::{Failure, exit};
use output::Output;

/// Parses the arguments and does what they say.
pub fn main() -> ExitCode {
    let Arguments { common, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody may be reading the help any more.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::DONE });
        }
    };
    let mut output = Output::new(common.json, common.color);
    carry_out(common, command, &mut output).unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.code()
    })
}

fn carry_out(common: Common, command: Command, output: &mut Output) -> Result<ExitCode, Failure> {
    let command = match command {
        Command::Check { files } => return check::run(&files.files, output),
        Command::Config { command } => return config::run(command, output),
        Command::Completion { shell } => return completion(shell, output),
        Command::Man { directory } => return man(&directory),
        Command::Purge { pin_dir, dry_run } => return purge::run(&pin_dir, dry_run, output),
        Command::RunEnter { entry, command } => return Ok(run::enter::run(&entry, &command, output)),
        Command::Daemon { config, state_dir, pin_dir } => {
            return Ok(start::run(&common, config, state_dir, pin_dir, output));
        }
        asks => asks,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(&Client::new(common.socket), command, output))
}

/// The commands that the daemon answers.
async fn ask(client: &Client, command: Command, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Apply { files, dry_run, verbose } => apply::run(client, output, &files.files, dry_run, verbose).await,
        Command::Get { id, output: format } => get::run(client, output, id.as_ref(), format).await,
        Command::Delete { ids } => end::delete(client, output, &ids).await,
        Command::Detach { ids, slots } => end::detach(client, output, &ids, &slots).await,
        Command::Doctor { config } => doctor::run(client, output, config).await,
        Command::Watch { id } => watch::run(client, output, id.as_ref()).await,
        Command::Denials { id, since } => denials::run(client, output, &id, since).await,
        Command::Explain { id, destination, at, exit_code } => {
            explain::run(client, output, &id, &destination, at, exit_code).await
        }
        Command::Key { command } => key::run(client, output, command).await,
        Command::Run(options) => run::run(client.socket(), options, output).await,
        Command::RunKeep { asked } => run::keeper::run(&asked, output).await,
        Command::Check { .. }
        | Command::Completion { .. }
        | Command::Config { .. }
        | Command::Man { .. }
        | Command::Daemon { .. }
        | Command::RunEnter { .. }
        | Command::Purge { .. } => Ok(ExitCode::SUCCESS),
    }
}

fn completion(shell: clap_complete::Shell, output: &mut Output) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "filter-ctl", &mut script);
    output.text(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

fn man(directory: &Path) -> Result<ExitCode, Failure> {
    clap_mangen::generate_to(Arguments::command(), directory)?;
    Ok(ExitCode::SUCCESS)
}
