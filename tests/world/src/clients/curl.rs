//! HTTP and HTTPS with curl.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use crate::{
    node::Node,
    process::{Output, Process},
};

/// Beyond curl's own `--max-time`: a curl that hangs is an error of the test.
const LIMIT: Duration = Duration::from_secs(20);

/// What one curl got.
#[derive(Clone, Debug)]
pub struct Curl {
    /// curl's exit code; 0 when the transfer was complete, whatever the HTTP status.
    pub exit: i32,
    /// The HTTP status; 0 when there was no response.
    pub status: u16,
    /// The response body, or as much of it as arrived.
    pub body: String,
    /// Why the transfer failed; `None` when it did not.
    pub failure: Option<Failure>,
    /// curl's verbose trace.
    pub stderr: String,
}

/// Why a transfer failed, as its user sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A TCP RST answered the SYN.
    Refused,
    /// An ICMP error of the administratively-prohibited or host-unreachable kind answered the SYN.
    Prohibited,
    /// There is no route to the address.
    NoRoute,
    /// Nothing answered in time, or the transfer stopped.
    Timeout,
    /// A TCP RST ended an open connection.
    Reset,
    /// The server closed before it answered, or in the middle of the answer.
    Closed,
    /// The TLS handshake failed, or the certificate was not accepted.
    Tls,
    /// Any other exit code of curl.
    Other(i32),
}

impl Curl {
    /// Whether a complete answer with HTTP status 200 came.
    pub fn is_ok(&self) -> bool {
        self.failure.is_none() && self.status == 200
    }
}

impl Node {
    /// Fetches `url` once: no proxy, no certificate check, two seconds for the connection and five for all.
    ///
    /// An error means that curl could not run. The machine's resolver is not in the world: give addresses, or names with
    /// `--resolve` by [`Node::curl_with`].
    pub fn curl(&self, url: &str) -> Result<Curl> {
        self.curl_with(&[], url)
    }

    /// [`Node::curl`] with more options of curl, which override its own.
    pub fn curl_with(&self, options: &[&str], url: &str) -> Result<Curl> {
        start(self, &[&["--max-time", "5"], options].concat(), url)?.wait(LIMIT).and_then(read)
    }
}

/// Starts a curl that [`read`] understands once it has ended. The body goes to standard output as it arrives; the trace, and
/// as its last line curl's summary, to standard error.
pub(crate) fn start(node: &Node, options: &[&str], url: &str) -> Result<Process> {
    let mut command = node.command("curl");
    command.args(["--disable", "--silent", "--verbose", "--no-buffer", "--globoff", "--insecure", "--noproxy", "*"]);
    command.args(["--connect-timeout", "2", "--write-out", "%{stderr}\n%{json}"]).args(options).arg(url);
    node.spawn_command(command)
}

/// Takes the output of an ended curl apart.
pub(crate) fn read(output: Output) -> Result<Curl> {
    #[derive(Deserialize)]
    struct Summary {
        exitcode: i32,
        http_code: u16,
    }
    let summary = output.stderr.lines().next_back().and_then(|line| serde_json::from_str::<Summary>(line).ok());
    let Summary { exitcode, http_code } = summary
        .ok_or_else(|| anyhow!("{}", output.stderr))
        .with_context(|| format!("`{}` ended without a summary ({})", output.command, output.status))?;
    Ok(Curl {
        exit: exitcode,
        status: http_code,
        failure: failure(exitcode, &output.stderr),
        body: output.stdout,
        stderr: output.stderr,
    })
}

/// curl's exit codes, which its manual lists; a failed connect is told apart by the errno in the trace.
fn failure(exit: i32, trace: &str) -> Option<Failure> {
    let says = |text: &str| trace.contains(text);
    Some(match exit {
        0 => return None,
        7 if says("Connection refused") => Failure::Refused,
        7 if says("No route to host") || says("Permission denied") => Failure::Prohibited,
        7 if says("Network is unreachable") => Failure::NoRoute,
        28 => Failure::Timeout,
        35 | 52 | 55 | 56 if says("Connection reset by peer") => Failure::Reset,
        18 | 52 => Failure::Closed,
        35 | 60 => Failure::Tls,
        other => Failure::Other(other),
    })
}
