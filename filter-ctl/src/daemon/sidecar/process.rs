//! The process of the sidecar: its start, its end, and whether it answers.

use crate::daemon::connections::Log;
use anyhow::{Context, Result, bail};
use filter_sidecar::protocol::{self, Denied, Order, Word};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::env;
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, broadcast};

/// Name of the program, beside the daemon's.
const PROGRAM: &str = "filter-sidecar";
/// The user and the group that have nothing.
const NOBODY: u32 = 65_534;
/// After so long without an answer the sidecar hangs, whatever it does meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// After so long in which no thread of it was ready to run, though an order waits: nobody would ever answer.
const ASLEEP: Duration = Duration::from_millis(300);
/// Between looks at whether one was. Time in which the daemon itself was not run has no looks, and does not count.
const LOOK: Duration = Duration::from_millis(20);

/// A sidecar that runs, or has ended. It is ended when this is dropped.
pub(super) struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    control: UnixStream,
    answers: Receiver<Word>,
    started: Instant,
    end: Arc<Mutex<Option<String>>>,
    waiting: Option<JoinHandle<()>>,
    /// Why it is of no use any more: answers and orders do not belong together.
    hangs: bool,
}

/// Who hears what it says by itself.
pub(super) struct Heard {
    /// Of what it refuses.
    pub(super) denied: broadcast::Sender<Denied>,
    /// Of what it has carried.
    pub(super) connections: Log,
}

impl Process {
    /// Starts it. `ended` is notified when it ends.
    pub(super) fn start(heard: Heard, ended: Arc<Notify>) -> Result<Process> {
        let program = env::current_exe().context("the daemon's own program is not known")?.with_file_name(PROGRAM);
        let (control, other) = UnixStream::pair().context("cannot make a pair of sockets")?;
        control.set_write_timeout(Some(PATIENCE)).context("the control socket")?;
        filter_dataplane::close_on_exec().context("cannot keep descriptors to itself")?;
        let mut command = Command::new(&program);
        // Groups of users are not inherited either. What a terminal sends to the daemon's processes is for the daemon alone.
        command
            .stdin(Stdio::from(OwnedFd::from(other)))
            .stdout(Stdio::null())
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .uid(NOBODY)
            .gid(NOBODY);
        let end = Arc::new(Mutex::new(None));
        let (telling, told) = channel();
        // The kernel ends the sidecar with the thread that started it: this one stays as long.
        let waiting = thread::Builder::new()
            .name("sidecar".to_owned())
            .spawn({
                let end = end.clone();
                move || follow(command, &telling, &end, &ended)
            })
            .context("cannot start a thread")?;
        let started = told.recv().context("the thread has ended")?;
        let (pid, pidfd) = started.with_context(|| format!("cannot start {}", program.display()))?;
        tracing::info!(pid = pid.as_raw_nonzero(), "the sidecar has started");
        let reading = control.try_clone().context("the control socket")?;
        let (answering, answers) = channel();
        thread::spawn(move || listen(&reading, &answering, &heard));
        let (started, waiting) = (Instant::now(), Some(waiting));
        Ok(Process { pid, pidfd, control, answers, started, end, waiting, hangs: false })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// How long it has run.
    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Why it is to be replaced, if it is: it has ended, or does not answer.
    pub(super) fn is_lost(&self) -> Option<String> {
        let ended = self.end.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ended.or_else(|| self.hangs.then(|| "it did not answer".to_owned()))
    }

    /// Makes sure that it answers.
    pub(super) fn beat(&mut self) -> Result<()> {
        self.order(&Order::Beat, &[])
    }

    /// Lets it carry out an order.
    pub(super) fn order(&mut self, order: &Order, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        let answer = protocol::send(&self.control, order, descriptors)
            .context("the sidecar does not listen")
            .and_then(|()| self.answer());
        match answer {
            Ok(Word::Done) => Ok(()),
            Ok(Word::Failed { reason }) => bail!("the sidecar refuses: {reason}"),
            other => {
                self.hangs = true;
                other.map(drop)
            }
        }
    }

    /// Waits for the answer to an order. Who is busy gets more time than who sleeps over it: on a loaded machine a process that has
    /// something to do may wait for its turn, but is ready to run.
    fn answer(&self) -> Result<Word> {
        let end = Instant::now() + PATIENCE;
        let mut asleep = Duration::ZERO;
        loop {
            match self.answers.recv_timeout(LOOK) {
                Ok(word) => return Ok(word),
                Err(RecvTimeoutError::Disconnected) => bail!("the sidecar has ended"),
                Err(RecvTimeoutError::Timeout) => {}
            }
            asleep = if is_asleep(self.pid()) { asleep + LOOK } else { Duration::ZERO };
            if asleep >= ASLEEP || Instant::now() >= end {
                bail!("the sidecar does not answer");
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already needs no signal.
        pidfd_send_signal(&self.pidfd, Signal::KILL).ok();
        if let Some(waiting) = self.waiting.take() {
            drop(waiting.join());
        }
    }
}

/// Starts the program, and waits for its end.
fn follow(
    mut command: Command,
    started: &Sender<io::Result<(Pid, OwnedFd)>>,
    end: &Mutex<Option<String>>,
    ended: &Notify,
) {
    let spawned = command.spawn().and_then(|child| {
        let pid = Pid::from_child(&child);
        Ok((child, (pid, pidfd_open(pid, PidfdFlags::empty())?)))
    });
    // Its end of the control socket is the child's alone.
    drop(command);
    let mut child: Child = match spawned {
        Ok((child, found)) => {
            drop(started.send(Ok(found)));
            child
        }
        Err(error) => return drop(started.send(Err(error))),
    };
    let told = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    *end.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    ended.notify_one();
}

/// Passes on what the sidecar says until it has ended.
fn listen(control: &UnixStream, answering: &Sender<Word>, heard: &Heard) {
    while let Ok(Some((word, _))) = protocol::receive::<Word>(control) {
        match word {
            // Nobody watching is no error.
            Word::Denied(one) => drop(heard.denied.send(one)),
            Word::Carried(one) => heard.connections.carried(one),
            answer => {
                if answering.send(answer).is_err() {
                    return;
                }
            }
        }
    }
}

/// Whether no thread of a process is ready to run, or waits for the disk (`proc_pid_stat(5)`).
fn is_asleep(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    !threads.flatten().any(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // Behind the name, which may have parentheses itself.
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with(['R', 'D']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sleeps_is_told_from_who_works() {
        let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
        let mut worker = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let is = |asleep: bool, child: &Child| {
            let end = Instant::now() + Duration::from_secs(5);
            while is_asleep(child.id()) != asleep && Instant::now() < end {
                thread::sleep(Duration::from_millis(1));
            }
            is_asleep(child.id()) == asleep
        };
        let (sleeps, works) = (is(true, &sleeper), is(false, &worker));
        pidfd_send_signal(pidfd_open(Pid::from_child(&worker), PidfdFlags::empty()).unwrap(), Signal::STOP).unwrap();
        let stopped = is(true, &worker);
        for child in [&mut sleeper, &mut worker] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(sleeps && works && stopped && is_asleep(sleeper.id()));
    }
}
