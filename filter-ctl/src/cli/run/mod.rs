//! `run`: one command in a sandbox of its own.
//!
//! Three processes besides the command: this one waits for the command and reports; the *keeper* ([`keeper`]) makes the sandbox, and takes
//! everything away when this one has ended, however that was; and, where no daemon runs, a daemon that all such commands of the host share
//! ([`controller`]). The command itself begins as [`enter`], which goes into the sandbox and becomes it.

pub(super) mod arguments;
mod confine;
mod controller;
pub(super) mod enter;
pub(super) mod keeper;
mod learn;
mod place;
mod policy;
mod report;
mod signals;

use super::{client::Client, error::Failure, output::Output};
use arguments::Run;
use enter::Entry;
use nix::unistd::geteuid;
use place::Place;
use serde_json::Value;
use std::env;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::Instant;
use tokio::process::Command;

/// Runs the command; its exit code is this one's.
pub(super) async fn run(socket: &Path, run: Run, output: &mut Output) -> Result<ExitCode, Failure> {
    if !geteuid().is_root() {
        return Err(failure("run makes a sandbox, which only root may", Some("put sudo in front")));
    }
    let network = policy::network(&run, output)?;
    let report_file = report::file(&run)?;
    let place = Place::new(run.cgroup)?;
    let mut keeper = keeper::start(&place, socket, &network, run.learn)?;
    let ran = match keeper.ready() {
        Ok(ready) => carry_out(&run, &place, &network, &ready).await,
        Err(error) => Err(error),
    };
    // Whatever came of it.
    keeper.end(output);
    let (status, report) = ran?;
    report.write(report_file, output)?;
    Ok(ExitCode::from(code(status)))
}

async fn carry_out(
    run: &Run,
    place: &Place,
    network: &Value,
    ready: &keeper::Ready,
) -> Result<(ExitStatus, report::Report), Failure> {
    let client = Client::new(ready.socket.clone());
    let began = Instant::now();
    let status = execute(run, place, ready).await?;
    let duration = began.elapsed();
    let denials = client.get(&format!("/v1/sandboxes/{}/denials", place.id())).await?;
    let learnt = if run.learn { Some(learn::learn(&client, place, ready).await?) } else { None };
    Ok((status, report::Report { status, duration, network: network.clone(), denials, learnt }))
}

/// Runs the command to its end.
async fn execute(run: &Run, place: &Place, ready: &keeper::Ready) -> Result<ExitStatus, Failure> {
    let entry = Entry::new(place, ready, run.keep_capabilities);
    let program = env::current_exe()?;
    let mut command = Command::new(program);
    command.arg("run-enter").arg(entry.text()?).arg("--").args(&run.command);
    // What is open here is not the command's; the keeper's pipe least of all.
    filter_dataplane::close_on_exec()?;
    let mut signals = signals::Signals::new()?;
    let mut child = command.spawn()?;
    loop {
        tokio::select! {
            ended = child.wait() => return Ok(ended?),
            signal = signals.next() => signals::pass_on(&child, signal),
        }
    }
}

/// What a shell would say of the end of a command.
fn code(status: ExitStatus) -> u8 {
    let signal = || status.signal().map_or(1, |signal| 128 + signal);
    u8::try_from(status.code().unwrap_or_else(signal)).unwrap_or(1)
}

/// Why a command cannot be run, and what to do.
fn failure(message: impl Into<String>, hint: Option<&str>) -> Failure {
    Failure::refused(crate::api::ErrorReply {
        code: 0,
        message: message.into(),
        hint: hint.map(str::to_owned),
        problems: Vec::new(),
    })
}

/// A file that cannot be worked with.
fn about(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Failure {
    let path = path.into();
    move |error| failure(format!("{}: {error}", path.display()), None)
}
