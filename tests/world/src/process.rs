//! Child processes that cannot outlive their guard, with their output in files.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::poll::poll;

/// Distinguishes the output files of one program that runs several times.
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// What a process that has ended left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// All that it wrote to its standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// All that it wrote to its standard error; bytes that are not UTF-8 are replaced.
    pub stderr: String,
}

impl Output {
    /// The output itself when the process succeeded, else an error that quotes it.
    pub fn ok(self) -> Result<Self> {
        ensure!(self.status.success(), "`{}` failed ({}): {}{}", self.command, self.status, self.stdout, self.stderr);
        Ok(self)
    }

    /// The exit code; `None` when a signal ended the process.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// A running child, leader of a process group of its own. Dropping it kills the whole group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    command: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command` with its output in new files below `dir`.
    pub(crate) fn start(mut command: Command, label: &str, dir: &Path) -> Result<Self> {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let stdout = dir.join(format!("{label}-{serial}.out"));
        let stderr = dir.join(format!("{label}-{serial}.err"));
        let create = |path: &Path| File::create(path).with_context(|| format!("cannot create {}", path.display()));
        command.stdout(create(&stdout)?).stderr(create(&stderr)?).process_group(0);
        let shown = show(&command);
        let child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
        Ok(Self { child, command: shown, stdout, stderr })
    }

    /// The process id, which is also the id of its process group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its standard output so far.
    pub fn stdout(&self) -> String {
        contents(&self.stdout)
    }

    /// The file that takes its standard output.
    pub fn stdout_path(&self) -> &Path {
        &self.stdout
    }

    /// What it has written to its standard error so far.
    pub fn stderr(&self) -> String {
        contents(&self.stderr)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends `signal` to the whole process group.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        killpg(self.group(), signal).with_context(|| format!("cannot send {signal} to `{}`", self.command))
    }

    /// Waits for the end, at most for `within`; an overrun kills the group and is an error with the output so far.
    pub fn wait(&mut self, within: Duration) -> Result<Output> {
        let ended = poll(within, || self.child.try_wait().transpose());
        let Some(status) = ended else {
            self.kill();
            bail!("`{}` still ran after {within:?} and was killed: {}{}", self.command, self.stdout(), self.stderr());
        };
        let status = status.with_context(|| format!("cannot wait for `{}`", self.command))?;
        Ok(Output { command: self.command.clone(), status, stdout: self.stdout(), stderr: self.stderr() })
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Ends the group and reaps the child. A group that is gone already is what was wanted.
    fn kill(&mut self) {
        killpg(self.group(), Signal::SIGKILL).ok();
        self.child.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The command line as one would type it.
fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn contents(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => format!("(cannot read {}: {error})", path.display()),
    }
}
