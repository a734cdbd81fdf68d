//! Swaps by the daemon, asked for on its socket: acknowledged is what its caller is told.

use super::lane::Backlog;
use super::load::{Load, timed};
use super::policy::Policy;
use super::swaps::Swaps;
use super::{Report, document, world};
use anyhow::{Context, Result, ensure};
use filter_ctl::api::ApplyReply;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use test_scenarios::Daemon;

/// Swaps so many times. The program is the one that is shipped, so nothing is recorded.
///
/// # Errors
/// Without root, what the daemon refused, or all that is otherwise than it must be.
pub fn through_the_daemon(swaps: u32) -> Result<Report> {
    let (world, sandbox) = world("acknowledged")?;
    let daemon = Daemon::start(&world, "")?;
    let mut log = Swaps::default();
    let apply = |generation: u32| {
        let body =
            serde_json::json!({ "documents": [{ "document": document(&sandbox, None, Policy::of(generation)) }] });
        let reply = post(daemon.socket(), "/v1/apply", &body.to_string())?;
        let reply: ApplyReply = serde_json::from_str(&reply).with_context(|| format!("not an answer: {reply}"))?;
        let told = reply.results.first().map(|applied| applied.generation);
        ensure!(told == Some(generation), "generation {generation} was due: {reply:?}");
        Ok(())
    };
    timed(&mut log, || apply(1))?;
    let backlog = Arc::new(Backlog::default());
    backlog.without_reader();
    let load = Load::start(&sandbox, world.internet(), &backlog)?;
    let swapped = load.carry_on().and_then(|()| {
        (2..=swaps + 1).try_for_each(|generation| {
            timed(&mut log, || apply(generation))?;
            load.carry_on()
        })
    });
    let outcome = load.finish()?;
    let mut faults = outcome.faults(&log);
    faults.extend(swapped.err().map(|error| format!("{error:#}")));
    Report::of(&outcome, &log, None, &faults)
}

/// The body of the answer to a request on a Unix socket, which must be a success.
fn post(socket: &Path, path: &str, body: &str) -> Result<String> {
    let mut stream = UnixStream::connect(socket).context("cannot reach the daemon")?;
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the daemon gave no answer")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(body.to_owned())
}
