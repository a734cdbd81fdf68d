//! The daemon asked on its socket, where everybody is the operator.

use anyhow::{Context, Result, ensure};
use filter_ctl::api::SandboxStatus;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Where it answers.
#[derive(Clone)]
pub(crate) struct Local(PathBuf);

impl Local {
    pub(crate) fn new(socket: &Path) -> Local {
        Local(socket.to_owned())
    }

    /// The status and the body of what it answers; an error when it does not.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Result<(u16, Value)> {
        let mut stream = UnixStream::connect(&self.0).context("cannot reach the daemon")?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the daemon gave no answer")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        Ok((status, if body.is_empty() { Value::Null } else { serde_json::from_str(body)? }))
    }

    /// All sandboxes, by id.
    pub(crate) fn list(&self) -> Result<BTreeMap<String, SandboxStatus>> {
        let (status, body) = self.ask("GET", "/v1/sandboxes", "")?;
        ensure!(status == 200, "{status}: {body}");
        let all: Vec<SandboxStatus> = serde_json::from_value(body)?;
        Ok(all.into_iter().map(|status| (status.id.clone(), status)).collect())
    }
}
