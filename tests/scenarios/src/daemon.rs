//! A daemon in a world's host.

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use test_world::{Node, Output, Process, World, poll};

/// How long a daemon may take to answer, or to end.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A daemon with a state directory, pins and a socket of its own. Told to stop when dropped; enforcement goes on.
pub struct Daemon {
    host: Node,
    dir: PathBuf,
    state_dir: PathBuf,
    pin_dir: PathBuf,
    socket: PathBuf,
    config: PathBuf,
    program: Option<PathBuf>,
    environment: Vec<String>,
    process: Option<Process>,
}

/// How a daemon that could not go on ended.
pub type Ended = Output;

impl Daemon {
    /// Starts a daemon in the world's host, with `config` as the operator's configuration, and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer within thirty seconds; quotes its log.
    pub fn start(world: &World, config: &str) -> Result<Daemon> {
        let mut daemon = Daemon::prepare(world, "daemon", config)?;
        daemon.pin_dir = world.pin_dir().to_owned();
        daemon.begin()?;
        Ok(daemon)
    }

    /// Another daemon of the world, with things of its own, that does not run yet.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn prepare(world: &World, name: &str, config: &str) -> Result<Daemon> {
        let dir = world.dir().join(name);
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let file = dir.join("config.yaml");
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Daemon {
            host: world.host().clone(),
            state_dir: dir.join("state"),
            pin_dir: world.pin_dir().join(name),
            socket: dir.join("api.sock"),
            config: file,
            program: None,
            environment: Vec::new(),
            dir,
            process: None,
        })
    }

    /// Replaces the operator's configuration, which a daemon reads when it starts.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, config: &str) -> Result<()> {
        fs::write(&self.config, config).with_context(|| format!("cannot write {}", self.config.display()))
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn begin(&mut self) -> Result<()> {
        let mut process = self.spawn(&[])?;
        let answers = poll(START_LIMIT, || match self.ctl(&["get"]) {
            Ok(output) if output.status.success() => Some(true),
            _ => (!process.is_running()).then_some(false),
        });
        if answers != Some(true) {
            bail!("the daemon does not answer: {}", process.stderr());
        }
        self.process = Some(process);
        Ok(())
    }

    /// Starts it behind the words of `wrapper`, and waits for it to give up.
    ///
    /// # Errors
    /// When it does not end.
    pub fn ends(&self, wrapper: &[&str]) -> Result<Ended> {
        self.spawn(wrapper)?.wait(START_LIMIT)
    }

    /// Starts it, tells it to stop as soon as it has its socket, and waits for its end.
    ///
    /// # Errors
    /// When it has no socket within thirty seconds, or does not end.
    pub fn ends_when_bound(&self) -> Result<Ended> {
        let mut process = self.spawn(&[])?;
        poll(START_LIMIT, || self.socket.exists().then_some(())).context("it makes no socket")?;
        process.signal(Signal::SIGTERM)?;
        process.wait(START_LIMIT)
    }

    /// Kills it without a warning, and waits until it is gone.
    ///
    /// # Errors
    /// When it does not run, or does not die.
    pub fn kill9(&mut self) -> Result<()> {
        let mut process = self.process.take().context("no daemon runs")?;
        process.signal(Signal::SIGKILL)?;
        process.wait(START_LIMIT).map(drop)
    }

    /// Tells it to stop, and waits for its end.
    ///
    /// # Errors
    /// When it does not end by itself.
    pub fn stop(&mut self) -> Result<Ended> {
        let mut process = self.process.take().context("no daemon runs")?;
        process.signal(Signal::SIGTERM)?;
        process.wait(START_LIMIT)
    }

    /// Waits for the end of a daemon that was not told to stop.
    ///
    /// # Errors
    /// When none runs, or it does not end.
    pub fn dies(&mut self) -> Result<Ended> {
        self.process.take().context("no daemon runs")?.wait(START_LIMIT)
    }

    /// Sends it a signal, and waits for nothing.
    ///
    /// # Errors
    /// When none runs.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().context("no daemon runs")?.signal(signal)
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Runs another build of the command, with one more variable in its environment.
    pub fn with_program(mut self, program: &Path, variable: &str, value: &Path) -> Daemon {
        self.program = Some(program.to_owned());
        self.environment = vec!["env".to_owned(), format!("{variable}={}", value.display())];
        self
    }

    /// Uses the other daemon's state directory.
    pub fn with_state_of(mut self, other: &Daemon) -> Daemon {
        self.state_dir.clone_from(&other.state_dir);
        self
    }

    /// Uses the other daemon's pin directory.
    pub fn with_pins_of(mut self, other: &Daemon) -> Daemon {
        self.pin_dir.clone_from(&other.pin_dir);
        self
    }

    /// Uses the other daemon's socket.
    pub fn with_socket_of(mut self, other: &Daemon) -> Daemon {
        self.socket.clone_from(&other.socket);
        self
    }

    /// Where it keeps documents.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Where it pins.
    pub fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// Where the maps of this version of the ABI are pinned.
    pub fn pins(&self) -> PathBuf {
        self.pin_dir().join(format!("abi-{}", filter_core::abi::VERSION))
    }

    /// Where it answers.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it has told so far.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// The namespace that it runs in.
    pub(crate) fn host(&self) -> &Node {
        &self.host
    }

    /// A directory of its own.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn spawn(&self, wrapper: &[&str]) -> Result<Process> {
        let binary = match &self.program {
            Some(program) => program.display().to_string(),
            None => binary()?,
        };
        let (state_dir, pin_dir) = (self.state_dir.display().to_string(), self.pin_dir.display().to_string());
        let (socket, config) = (self.socket.display().to_string(), self.config.display().to_string());
        let daemon = [&binary, "daemon", "--state-dir", &state_dir, "--pin-dir", &pin_dir];
        let options = ["--socket", &socket, "--config", &config];
        let environment: Vec<&str> = self.environment.iter().map(String::as_str).collect();
        self.host.spawn(&[wrapper, &environment, &daemon, &options].concat())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Shown only when the test fails.
        println!("daemon: {}", self.log());
        if self.process.is_some()
            && let Err(error) = self.stop()
        {
            println!("the daemon does not stop: {error:#}");
        }
    }
}

/// The command, which cargo puts beside the tests' directory.
pub fn binary() -> Result<String> {
    let test = env::current_exe().context("the test does not know where it is")?;
    let path = test.ancestors().nth(2).map(|profile| profile.join("filter-ctl")).filter(|path| path.exists());
    let path = path.context("there is no filter-ctl: run cargo build -p filter-ctl (cargo xtask test does)")?;
    Ok(path.display().to_string())
}
