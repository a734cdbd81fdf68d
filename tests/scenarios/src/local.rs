//! The daemon asked on its socket, where everybody is the operator: a call costs no process, as one of the command line does.

use anyhow::{Context, Result, ensure};
use filter_ctl::api::{ApplyReply, SandboxStatus};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A client of a daemon's socket: one request a connection.
#[derive(Clone, Debug)]
pub struct Local(PathBuf);

impl Local {
    /// A client of the daemon that listens there.
    pub fn new(socket: &Path) -> Local {
        Local(socket.to_owned())
    }

    /// Applies documents in one call.
    ///
    /// # Errors
    /// When they are refused.
    pub fn apply(&self, documents: &[Value]) -> Result<ApplyReply> {
        let documents: Vec<Value> = documents.iter().map(|document| json!({ "document": document })).collect();
        self.done("POST", "/v1/apply", &json!({ "documents": documents }).to_string())
    }

    /// A sandbox as it is.
    ///
    /// # Errors
    /// When there is none.
    pub fn status(&self, id: &str) -> Result<SandboxStatus> {
        self.done("GET", &format!("/v1/sandboxes/{id}"), "")
    }

    /// All sandboxes, by id.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn list(&self) -> Result<BTreeMap<String, SandboxStatus>> {
        let all: Vec<SandboxStatus> = self.done("GET", "/v1/sandboxes", "")?;
        Ok(all.into_iter().map(|status| (status.id.clone(), status)).collect())
    }

    /// Deletes a sandbox.
    ///
    /// # Errors
    /// When that is refused.
    pub fn delete(&self, id: &str) -> Result<()> {
        self.done("DELETE", &format!("/v1/sandboxes/{id}"), "").map(|_: Value| ())
    }

    /// Detaches a sandbox.
    ///
    /// # Errors
    /// When that is refused.
    pub fn detach(&self, id: &str) -> Result<()> {
        self.done("POST", &format!("/v1/sandboxes/{id}/detach"), "").map(|_: Value| ())
    }

    /// Whether the daemon answers.
    pub fn is_there(&self) -> bool {
        self.exchange("GET", "/v1/health", "").is_ok_and(|(status, _)| status == 200)
    }

    /// What is answered to a request that must be done.
    ///
    /// # Errors
    /// When it is not, or the answer cannot be read.
    pub fn done<T: DeserializeOwned>(&self, method: &str, path: &str, body: &str) -> Result<T> {
        let (status, answer) = self.exchange(method, path, body)?;
        ensure!(status == 200, "{method} {path}: {status}: {answer}");
        serde_json::from_str(&answer).with_context(|| format!("{method} {path} was answered {answer:?}"))
    }

    /// The status and the body of what is answered to a request, whatever that is.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<(u16, Value)> {
        let (status, answer) = self.exchange(method, path, body)?;
        Ok((status, if answer.is_empty() { Value::Null } else { serde_json::from_str(&answer)? }))
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
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
        Ok((status, body.to_owned()))
    }
}
