//! Signals that are for the command.

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};
use std::fs::File;
use std::io;
use tokio::process::Child;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a terminal sends to all processes of its foreground, the command among them.
const FROM_TERMINALS: [Signal; 2] = [Signal::SIGINT, Signal::SIGQUIT];

/// The signals that this process is sent.
pub(super) struct Signals {
    interrupt: Stream,
    quit: Stream,
    terminate: Stream,
    hang_up: Stream,
    first: Stream,
    second: Stream,
}

impl Signals {
    pub(super) fn new() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            first: signal(SignalKind::user_defined1())?,
            second: signal(SignalKind::user_defined2())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.quit.recv() => Signal::SIGQUIT,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.hang_up.recv() => Signal::SIGHUP,
            _ = self.first.recv() => Signal::SIGUSR1,
            _ = self.second.recv() => Signal::SIGUSR2,
        }
    }
}

/// Passes a signal on, unless the command has it already.
pub(super) fn pass_on(child: &Child, signal: Signal) {
    // Standard input may be a file or a pipe.
    let in_foreground = |terminal: File| tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp());
    if File::open("/dev/tty").is_ok_and(in_foreground) && FROM_TERMINALS.contains(&signal) {
        return;
    }
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended.
        kill(Pid::from_raw(pid), signal).ok();
    }
}
