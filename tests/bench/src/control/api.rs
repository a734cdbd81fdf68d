//! The daemon's API, asked on its socket.

use anyhow::{Context, Result, ensure};
use filter_ctl::api::ApplyReply;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Applies documents in one call.
pub(crate) fn apply(socket: &Path, documents: &[Value]) -> Result<ApplyReply> {
    let documents: Vec<Value> = documents.iter().map(|document| json!({ "document": document })).collect();
    let body = json!({ "documents": documents }).to_string();
    serde_json::from_str(&ask(socket, "POST", "/v1/apply", &body)?).context("the daemon's answer cannot be read")
}

/// Whether the daemon answers.
pub(crate) fn is_there(socket: &Path) -> bool {
    ask(socket, "GET", "/v1/health", "").is_ok()
}

/// What is answered to a request, if it is done.
pub(crate) fn ask(socket: &Path, method: &str, path: &str, body: &str) -> Result<String> {
    let mut stream = UnixStream::connect(socket).context("cannot reach the daemon")?;
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
