//! Running `filter-ctl`: the daemon, and its clients as one types them.

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use test_world::{Node, Output, Process, World, poll};

use crate::screen::Screen;

/// How long a client may take, and a daemon until it answers.
const LIMIT: Duration = Duration::from_secs(10);

/// The program, and the host where it runs.
pub(crate) struct FilterCtl<'w> {
    host: &'w Node,
    program: PathBuf,
    socket: PathBuf,
}

impl<'w> FilterCtl<'w> {
    pub(crate) fn new(world: &'w World, program: &Path) -> Self {
        Self { host: world.host(), program: program.to_owned(), socket: world.dir().join("api.sock") }
    }

    /// Where the daemon answers.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Runs a client and shows the command and what it printed. An exit code other than `code` fails the demonstration.
    pub(crate) fn show(&self, screen: &Screen, words: &[&str], code: i32) -> Result<Output> {
        screen.command(&format!("filter-ctl {}", words.join(" ")));
        let output = self.start(screen, words)?.wait(LIMIT)?;
        screen.text(&output.stdout);
        screen.text(&output.stderr);
        if output.code() != Some(code) {
            screen.expect(false, &format!("expected exit code {code}, got {}", output.status));
        }
        Ok(output)
    }

    /// Runs a client with `--json` and reads what it printed.
    pub(crate) fn json<T: DeserializeOwned>(&self, words: &[&str]) -> Result<T> {
        let output = self.host.spawn_command(self.command(&[words, &["--json"]].concat()))?.wait(LIMIT)?.ok()?;
        serde_json::from_str(&output.stdout).with_context(|| format!("`{}` printed {}", output.command, output.stdout))
    }

    /// Starts a client that runs on; its output will be shown.
    pub(crate) fn start(&self, screen: &Screen, words: &[&str]) -> Result<Process> {
        self.host.spawn_command(self.shown(screen, words))
    }

    /// The output goes to a file, and from there to the screen: the program cannot know whether that has colours.
    fn shown(&self, screen: &Screen, words: &[&str]) -> Command {
        let mut command = self.command(words);
        command.env(if screen.has_colours() { "CLICOLOR_FORCE" } else { "NO_COLOR" }, "1");
        command
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.host.command(&self.program);
        command.args(words).env("SANDBOX_FILTER_SOCKET", &self.socket);
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "RUST_LOG", "JOURNAL_STREAM", "NOTIFY_SOCKET"] {
            command.env_remove(name);
        }
        command
    }
}

/// A running daemon with its own state, pins and socket.
pub(crate) struct Daemon(Process);

impl Daemon {
    /// Starts a daemon in the host's namespace; it answers when this returns.
    pub(crate) fn start(ctl: &FilterCtl<'_>, world: &World) -> Result<Self> {
        let config = world.dir().join("config.yaml");
        // The machine's own configuration and resolvers are not the demonstration's.
        std::fs::write(&config, "resolvers: [8.8.8.8]\n")
            .with_context(|| format!("cannot write {}", config.display()))?;
        let mut command = ctl.command(&["daemon"]);
        command.arg("--config").arg(config).arg("--state-dir").arg(world.dir().join("state"));
        command.arg("--pin-dir").arg(world.pin_dir().join("filter"));
        let mut process = ctl.host.spawn_command(command)?;
        let answers = poll(LIMIT, || {
            let answers = UnixStream::connect(&ctl.socket).is_ok();
            (answers || !process.is_running()).then_some(answers)
        });
        match answers {
            Some(true) => Ok(Self(process)),
            _ => bail!("the daemon does not answer: {}{}", process.stdout(), process.stderr()),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Ends it by a signal and waits for its end.
    pub(crate) fn end(&mut self, signal: Signal) -> Result<Output> {
        self.0.signal(signal)?;
        self.0.wait(LIMIT)
    }
}
