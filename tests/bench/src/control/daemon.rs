//! A daemon of the benchmark's own: this program under another name of its first argument.

use crate::private::BPFFS;
use crate::world::Netns;
use anyhow::{Context, Result, bail};
use filter_core::abi;
use filter_dataplane::purge;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id};
use std::thread;
use std::time::{Duration, Instant};
use test_scenarios::Local;

/// How long it may take to answer.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A daemon in a namespace. It ends with the program, however that ends.
pub(crate) struct Daemon {
    child: Child,
    dir: PathBuf,
    pin_dir: PathBuf,
}

impl Daemon {
    /// Starts one with `config` as the operator's configuration, and waits until it answers. Call it on the main thread: the kernel ends a daemon with the thread that started it.
    pub(crate) fn start(name: &str, netns: &Netns, config: &str) -> Result<Daemon> {
        Daemon::start_on(name, netns, config, None)
    }

    /// As [`Self::start`], on one CPU only.
    pub(crate) fn start_on(name: &str, netns: &Netns, config: &str, cpu: Option<usize>) -> Result<Daemon> {
        let dir = std::env::temp_dir().join(format!("sandbox-filter-bench-{}-{name}", id()));
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let pin_dir = Path::new(BPFFS).join(format!("control-{name}"));
        let file = dir.join("config.yaml");
        fs::write(&file, config)?;
        let child = spawn(&dir, &pin_dir, netns, cpu)?;
        let mut daemon = Daemon { child, dir, pin_dir };
        daemon.answers()?;
        Ok(daemon)
    }

    /// Kills it, and starts it again with all that it has. Call it where [`Self::start`] was called.
    pub(crate) fn restart(&mut self, netns: &Netns) -> Result<()> {
        self.kill()?;
        self.child = spawn(&self.dir, &self.pin_dir, netns, None)?;
        self.answers()
    }

    /// Kills it; what it has put into the kernel goes on.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().context("cannot kill the daemon")?;
        self.child.wait().context("the daemon").map(drop)
    }

    fn answers(&mut self) -> Result<()> {
        let started = Instant::now();
        while !self.local().is_there() {
            if self.child.try_wait()?.is_some() || started.elapsed() > START_LIMIT {
                bail!("the daemon does not answer: {}", fs::read_to_string(self.dir.join("log"))?);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The folder of its files.
    pub(crate) fn folder(&self) -> &Path {
        &self.dir
    }

    /// Where its links are pinned.
    pub(crate) fn links(&self) -> PathBuf {
        self.pin_dir.join(format!("abi-{}/links", abi::VERSION))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client of its socket.
    pub(crate) fn local(&self) -> Local {
        Local::new(&self.dir.join("socket"))
    }
}

fn spawn(dir: &Path, pin_dir: &Path, netns: &Netns, cpu: Option<usize>) -> Result<Child> {
    let log = File::options().create(true).append(true).open(dir.join("log"))?;
    Command::new("nsenter")
        .arg(format!("--net={}", netns.path().display()))
        .args(cpu.map(|cpu| ["taskset".into(), "--cpu-list".into(), cpu.to_string()]).into_iter().flatten())
        .args(["setpriv", "--pdeathsig", "KILL"])
        .arg(std::env::current_exe()?)
        .arg("daemon")
        .arg("--config")
        .arg(dir.join("config.yaml"))
        .arg("--state-dir")
        .arg(dir.join("state"))
        .arg("--pin-dir")
        .arg(pin_dir)
        .arg("--socket")
        .arg(dir.join("socket"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("cannot start a daemon")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
        let removed = purge(&self.pin_dir).map_err(anyhow::Error::from);
        if let Err(error) = removed.and_then(|_| Ok(fs::remove_dir_all(&self.dir)?)) {
            eprintln!("what the daemon in {} left was not removed: {error}", self.dir.display());
        }
    }
}
