//! Ctrl-C ends the story at its next line, not the program: the world is taken down first.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context, Result, bail};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Takes SIGINT, SIGTERM and SIGHUP over. Child processes get them as ever.
pub(crate) fn listen() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot take signals over")?;
    let wait = move || {
        for _ in signals.forever() {
            eprintln!("\ninterrupted: taking the world down …");
            stop();
        }
    };
    thread::Builder::new().spawn(wait).context("cannot start a thread")?;
    Ok(())
}

/// Ends the story, as a signal would.
pub(crate) fn stop() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Fails once the story is to end.
pub(crate) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}
