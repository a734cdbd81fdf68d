//! `run`: one command in a sandbox of its own.
//!
//! Three processes besides the command: this one asks for the sandbox, waits for the command and reports; the *keeper* ([`keeper`]) takes
//! everything away when this one has ended, however that was; and, where no daemon runs, a daemon that all such commands of the host share
//! ([`controller`]). The command itself begins as [`enter`], which goes into the sandbox and becomes it.

pub(super) mod arguments;
mod controller;
pub(super) mod enter;
pub(super) mod keeper;
mod learn;
mod place;
mod policy;
mod report;
mod signals;

use super::{client::Client, error::Failure, output::Output};
use crate::api::{ApplyDocument, ApplyReply, ApplyRequest};
use arguments::Run;
use enter::Entry;
use filter_policy::Document;
use filter_policy::document::{Addresses, Attach};
use nix::unistd::geteuid;
use place::Place;
use serde_json::{Value, json};
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
    let network = policy::network(&run)?;
    let place = Place::new(run.cgroup)?;
    let keeper = keeper::start(&place, socket)?;
    let ready = keeper.ready()?;
    let client = Client::new(ready.socket.clone());
    let made = make(&client, &place, &network).await;
    let ran = match made {
        Ok(()) => carry_out(&client, &run, &place, &network, &ready).await,
        Err(error) => Err(error),
    };
    // Whatever came of it.
    keeper.end(output);
    let (status, report) = ran?;
    report.write(&run, output)?;
    Ok(ExitCode::from(code(status)))
}

async fn carry_out(
    client: &Client,
    run: &Run,
    place: &Place,
    network: &Value,
    ready: &keeper::Ready,
) -> Result<(ExitStatus, report::Report), Failure> {
    let began = Instant::now();
    let status = execute(run, place, ready).await?;
    let duration = began.elapsed();
    let denials = client.get(&format!("/v1/sandboxes/{}/denials", place.id())).await?;
    let learnt = if run.learn { Some(learn::learn(client, place, ready).await?) } else { None };
    Ok((status, report::Report { status, duration, network: network.clone(), denials, learnt }))
}

/// Makes the sandbox.
async fn make(client: &Client, place: &Place, network: &Value) -> Result<(), Failure> {
    match place {
        Place::Cgroup { id, path } => {
            place::make_cgroup(path)?;
            let network = serde_json::from_value(network.clone()).map_err(io::Error::from)?;
            let document = Document {
                version: 1,
                id: id.clone(),
                name: None,
                attach: Attach { cgroup: Some(path.display().to_string()), ..Attach::default() },
                addresses: Addresses::Any,
                mac: None,
                gateway: Vec::new(),
                dhcp: false,
                inbound_from: Vec::new(),
                on_deny: filter_policy::document::OnDeny::default(),
                network,
            };
            let request = ApplyRequest { documents: vec![ApplyDocument { document, lines: None }], dry_run: false };
            client.post::<ApplyReply>("/v1/apply", &request).await.map(drop)
        }
        Place::Netns { id } => {
            let body = json!({ "sandboxID": id, "templateID": "base", "timeout": 86_400 * 365, "network": network });
            client.post::<Value>("/v2/sandboxes", &body).await.map(drop)
        }
    }
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
