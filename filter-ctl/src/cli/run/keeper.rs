//! Makes the sandbox, and takes everything away once `run` has ended, however that was: a process of its own, told by a pipe whose other end `run` has. What is being made when
//! `run` is killed is finished first: what is not there yet could not be taken away.

use super::controller::{Controller, why_no_namespaces};
use super::failure;
use super::place::{self, Place};
use crate::api::Health;
use crate::cli::client::Client;
use crate::cli::error::Failure;
use crate::cli::output::Output;
use nix::unistd::setsid;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long processes may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `run` is told once it can begin.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    /// Of the daemon.
    pub(super) socket: PathBuf,
    /// Its process: namespaces are found as it sees them.
    pub(super) daemon: u32,
    /// Who resolves names for commands.
    pub(super) nameservers: Vec<IpAddr>,
    /// Where the daemon logs connections, as far as that is known.
    pub(super) connections: Option<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Said {
    Ready(Ready),
    Failed(crate::api::ErrorReply),
}

/// What it is asked for.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    place: Place,
    socket: PathBuf,
    learns: bool,
}

/// The keeper, as `run` has it.
pub(super) struct Keeper {
    child: Child,
    words: BufReader<ChildStdout>,
}

/// Starts it. The network configuration, which may be long or have secrets, goes by the pipe.
pub(super) fn start(place: &Place, socket: &Path, network: &Value, learns: bool) -> Result<Keeper, Failure> {
    let asked = Asked { place: place.clone(), socket: socket.to_owned(), learns };
    let text = serde_json::to_string(&asked).map_err(io::Error::from)?;
    let mut command = Command::new(env::current_exe()?);
    command.arg("run-keep").arg(text).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let words = child.stdout.take().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
    if let Some(pipe) = &mut child.stdin {
        // One that has ended says why.
        writeln!(pipe, "{network}").ok();
    }
    Ok(Keeper { child, words: BufReader::new(words) })
}

impl Keeper {
    /// Waits until it is ready, and the sandbox made.
    pub(super) fn ready(&mut self) -> Result<Ready, Failure> {
        let mut line = String::new();
        self.words.read_line(&mut line)?;
        match serde_json::from_str(&line) {
            Ok(Said::Ready(ready)) => Ok(ready),
            Ok(Said::Failed(reply)) => Err(Failure::refused(reply)),
            Err(_) => Err(failure("the process that is to clean up has ended", None)),
        }
    }

    /// Lets it take everything away, and waits for that.
    pub(super) fn end(mut self, output: &mut Output) {
        drop(self.child.stdin.take());
        if !self.child.wait().is_ok_and(|status| status.success()) {
            output.aside("something of the sandbox is left\n");
        }
    }
}

/// Keeps a place until the other end of standard input is closed.
pub(in crate::cli) async fn run(asked: &str, output: &mut Output) -> Result<ExitCode, Failure> {
    let Asked { place, socket, learns } = serde_json::from_str(asked).map_err(io::Error::from)?;
    // What a terminal sends is not for it; nor is anything else that would end it.
    setsid().map_err(io::Error::from)?;
    let _unheard = super::signals::Signals::new()?;
    let controller = match begin(&place, &socket, learns) {
        Ok(controller) => controller,
        Err(failure) => {
            say(&Said::Failed(failure.reply()))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let Controller { socket, nameservers, connections, .. } = &controller;
    let (socket, nameservers, connections) = (socket.clone(), nameservers.clone(), connections.clone());
    let client = Client::new(socket.clone());
    let mut pipe = BufReader::new(io::stdin());
    let said = match make(&client, &place, &mut pipe).await {
        Ok(daemon) => say(&Said::Ready(Ready { socket, daemon, nameservers, connections })),
        Err(failure) => say(&Said::Failed(failure.reply())),
    };
    if said.is_ok() {
        pipe.read_to_end(&mut Vec::new()).ok();
    }
    let taken = take_away(&place, &client).await;
    let left = controller.leave();
    let failures = taken.err().into_iter().chain(left.err());
    Ok(failures.fold(ExitCode::SUCCESS, |_, failure| {
        output.failure(&failure);
        ExitCode::FAILURE
    }))
}

/// Makes the sandbox; returns the daemon's process.
async fn make(client: &Client, place: &Place, pipe: &mut impl BufRead) -> Result<u32, Failure> {
    let mut line = String::new();
    pipe.read_line(&mut line)?;
    let network = serde_json::from_str(&line).map_err(io::Error::from)?;
    let Health { pid, .. } = client.get("/v1/health").await?;
    place::make(client, place, &network).await?;
    Ok(pid)
}

fn begin(place: &Place, socket: &Path, learns: bool) -> Result<Controller, Failure> {
    let controller = Controller::find(socket)?;
    if learns && controller.connections.is_none() {
        let hint = "stop the daemon for that: run starts one of its own";
        return Err(failure("what a daemon of the host lets pass is not known here", Some(hint)));
    }
    if let (Place::Netns { .. }, Some(_), Some(why)) = (place, &controller.connections, why_no_namespaces()) {
        controller.leave()?;
        return Err(why);
    }
    Ok(controller)
}

fn say(said: &Said) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, said)?;
    out.write_all(b"\n")?;
    out.flush()
}

async fn take_away(place: &Place, client: &Client) -> Result<(), Failure> {
    match place {
        Place::Cgroup { id, path } => {
            end_processes(path)?;
            gone(client.post::<Value>(&format!("/v1/sandboxes/{id}/detach"), &()).await)?;
            match fs::remove_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(super::about(path)(error)),
                _ => Ok(()),
            }
        }
        Place::Netns { id } => gone(client.delete::<Value>(&format!("/v1/sandboxes/{id}")).await),
    }
}

/// What is not there needs no end.
fn gone(ended: Result<Value, Failure>) -> Result<(), Failure> {
    match ended {
        Err(Failure::Refused { reply, .. }) if reply.code == 404 => Ok(()),
        other => other.map(drop),
    }
}

/// Ends all processes of a cgroup and of those below it (`cgroup.kill`, kernel 5.14), and removes those below.
fn end_processes(path: &Path) -> Result<(), Failure> {
    if !path.exists() {
        return Ok(());
    }
    let end = Instant::now() + PATIENCE;
    fs::write(path.join("cgroup.kill"), "1").map_err(super::about(path))?;
    let is_populated = || fs::read_to_string(path.join("cgroup.events")).is_ok_and(|text| text.contains("populated 1"));
    while is_populated() {
        if Instant::now() >= end {
            return Err(failure(format!("processes in {} do not end", path.display()), None));
        }
        sleep(Duration::from_millis(5));
    }
    remove_below(path).map_err(super::about(path))
}

fn remove_below(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_below(&entry.path())?;
        fs::remove_dir(entry.path())?;
    }
    Ok(())
}
