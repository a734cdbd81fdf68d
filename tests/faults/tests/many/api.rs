//! The daemon's API, asked on its socket.

use anyhow::{Context, Result, ensure};
use filter_ctl::api::{Applied, ApplyReply, SandboxStatus};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

pub(crate) struct Api<'a>(pub(crate) &'a Path);

impl Api<'_> {
    pub(crate) fn apply(&self, document: &Value) -> Result<Applied> {
        let body = json!({ "documents": [{ "document": document }] }).to_string();
        let reply: ApplyReply = serde_json::from_str(&self.ask("POST", "/v1/apply", &body)?)?;
        reply.results.into_iter().next().context("no result")
    }

    pub(crate) fn delete(&self, id: &str) -> Result<()> {
        self.ask("DELETE", &format!("/v1/sandboxes/{id}"), "").map(drop)
    }

    pub(crate) fn detach(&self, id: &str) -> Result<()> {
        self.ask("POST", &format!("/v1/sandboxes/{id}/detach"), "").map(drop)
    }

    pub(crate) fn status(&self, id: &str) -> Result<SandboxStatus> {
        Ok(serde_json::from_str(&self.ask("GET", &format!("/v1/sandboxes/{id}"), "")?)?)
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let mut stream = UnixStream::connect(self.0).context("cannot reach the daemon")?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the daemon gave no answer")?;
        ensure!(head.starts_with("HTTP/1.1 200 "), "{method} {path}: {answer}");
        Ok(body.to_owned())
    }
}
