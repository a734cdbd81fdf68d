//! `filter-sidecar`: started by the daemon, whose end of the control socket is its standard input.
#![forbid(unsafe_code)]

use anyhow::Context;
use std::io::stdin;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let done = stdin().as_fd().try_clone_to_owned().context("no standard input").map(UnixStream::from);
    let locked_in = done.and_then(|control| filter_sidecar::lock_in().map(|()| control));
    match locked_in.and_then(filter_sidecar::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
