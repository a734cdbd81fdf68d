//! The client's side of the local API: HTTP/1.1 over a Unix socket, a connection for each request.

use std::{
    io,
    path::{Path, PathBuf},
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::error::Failure;
use crate::api::{ErrorReply, MAX_BODY_BYTES};

/// Longest line of a stream, in bytes.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Speaks to the daemon behind a socket.
pub(super) struct Client {
    socket: PathBuf,
}

impl Client {
    pub(super) fn new(socket: PathBuf) -> Client {
        Client { socket }
    }

    /// Where the daemon is.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// What is at `path`.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        self.decode(response).await
    }

    /// What becomes of sending `body` to `path`.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(io::Error::from)?;
        if body.len() > MAX_BODY_BYTES {
            return Err(Failure::refused(ErrorReply {
                code: StatusCode::PAYLOAD_TOO_LARGE.as_u16(),
                message: format!("the documents are too large together: {} MiB", body.len() >> 20),
                hint: Some("apply them in several calls".to_owned()),
                problems: Vec::new(),
            }));
        }
        let response = self.send(Method::POST, path, body.into()).await?;
        self.decode(response).await
    }

    /// What becomes of deleting `path`.
    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self.send(Method::DELETE, path, Bytes::new()).await?;
        self.decode(response).await
    }

    /// The lines that come from `path` until the daemon ends.
    pub(super) async fn lines(&self, path: &str) -> Result<Lines, Failure> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        let body = self.accepted(response).await?.into_body();
        Ok(Lines { body, buffer: Vec::new() })
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Failure::Forbidden(self.socket.clone()),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Failure::NoDaemon(self.socket.clone()),
            _ => self.not_understood(error),
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(&e))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.not_understood(error))?;
        sender.send_request(request).await.map_err(|error| self.broken(&error))
    }

    async fn decode<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, Failure> {
        let body = self.accepted(response).await?.collect().await.map_err(|error| self.broken(&error))?;
        serde_json::from_slice(&body.to_bytes()).map_err(|error| self.not_understood(error))
    }

    /// The response, if it is no refusal.
    async fn accepted(&self, response: Response<Incoming>) -> Result<Response<Incoming>, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.collect().await.map_err(|error| self.broken(&error))?.to_bytes();
        match serde_json::from_slice(&body) {
            Ok(reply) => Err(Failure::refused(reply)),
            Err(_) => Err(self.not_understood(format_args!("HTTP status {status}"))),
        }
    }

    fn broken(&self, error: &hyper::Error) -> Failure {
        if error.is_parse() { self.not_understood(error) } else { Failure::Gone }
    }

    fn not_understood(&self, why: impl ToString) -> Failure {
        Failure::Answer { socket: self.socket.clone(), why: why.to_string() }
    }
}

/// Lines as they come.
pub(super) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line without its end. May be dropped while it waits; nothing is lost then.
    ///
    /// # Errors
    /// [`Failure::Ended`] when there are no more.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                return Ok(line);
            }
            if self.buffer.len() > MAX_LINE_BYTES {
                return Err(Failure::Ended);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.buffer.extend(frame.into_data().unwrap_or_default()),
                Some(Err(_)) | None => return Err(Failure::Ended),
            }
        }
    }
}
