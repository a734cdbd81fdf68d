//! A client of the API: one request a connection, as it is written.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;
use test_world::Node;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST`, ….
    pub method: &'static str,
    /// With its query.
    pub path: String,
    /// The key, if any is sent.
    pub key: Option<String>,
    /// What the body is said to be.
    pub content_type: Option<&'static str>,
    /// The body, if there is one.
    pub body: Option<Vec<u8>>,
    /// Whether the body is sent in chunks, without its length.
    pub chunked: bool,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers, by name in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, as text.
    pub body: String,
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("no JSON: {:?}", self.body))
    }

    /// The message of a refusal, which has the shape that clients know.
    ///
    /// # Errors
    /// When it has another.
    pub fn message(&self) -> Result<String> {
        let json = self.json()?;
        ensure!(json["code"] == self.status, "the code is not the status {}: {json}", self.status);
        Ok(json["message"].as_str().context("no message")?.to_owned())
    }
}

impl Request {
    /// One without a key and a body.
    pub fn new(method: &'static str, path: impl Into<String>) -> Request {
        Request {
            method,
            path: path.into(),
            key: None,
            content_type: None,
            body: None,
            chunked: false,
            headers: Vec::new(),
        }
    }

    /// With this key.
    #[must_use]
    pub fn key(mut self, key: &str) -> Request {
        self.key = Some(key.to_owned());
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Request {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Request {
        self.text(body.to_string())
    }

    /// With a body that is said to be JSON.
    #[must_use]
    pub fn text(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.content_type = Some("application/json");
        self.body = Some(body.into());
        self
    }

    /// As it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", self.method, self.path);
        if let Some(key) = &self.key {
            head += &format!("X-API-Key: {key}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(content_type) = self.content_type {
            head += &format!("Content-Type: {content_type}\r\n");
        }
        let body = self.body.clone().unwrap_or_default();
        if self.chunked {
            let mut bytes = (head + "Transfer-Encoding: chunked\r\n\r\n").into_bytes();
            for chunk in body.chunks(1_000) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            return bytes;
        }
        if self.body.is_some() {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend(body);
        bytes
    }

    /// Sends it to a port of a node, from the node itself.
    ///
    /// # Errors
    /// When nothing that is an answer comes.
    pub fn send(&self, node: &Node, port: u16) -> Result<Reply> {
        exchange(node, port, &self.bytes())
    }
}

/// Sends bytes, and reads one answer.
pub(crate) fn exchange(node: &Node, port: u16, bytes: &[u8]) -> Result<Reply> {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = node.within(|| TcpStream::connect_timeout(&to, PATIENCE))??;
    stream.set_read_timeout(Some(PATIENCE))?;
    // Whoever refuses early may have stopped reading.
    let sent = stream.write_all(bytes);
    let mut heard = Vec::new();
    let read = stream.read_to_end(&mut heard);
    parse(&heard).with_context(|| format!("no answer: sent {sent:?}, read {read:?}"))
}

fn parse(bytes: &[u8]) -> Result<Reply> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else { anyhow::bail!("half a head: {bytes:?}") };
    let status = response.code.context("no status")?;
    let headers: BTreeMap<String, String> = response
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    let body = String::from_utf8_lossy(&bytes[head..]).into_owned();
    if let Some(length) = headers.get("content-length") {
        ensure!(length.parse() == Ok(body.len()), "the body is cut short: {body:?}");
    }
    Ok(Reply { status, headers, body })
}
