//! A client that keeps its connection.

use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client with a connection.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    key: String,
}

impl Client {
    /// Connects.
    pub(super) fn connect(to: SocketAddr, key: &str) -> Result<Client> {
        let stream = TcpStream::connect(to).context("cannot reach the API")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Client { stream: BufReader::new(stream), key: key.to_owned() })
    }

    /// Replaces the network configuration of a sandbox.
    pub(super) fn update(&mut self, id: &str, network: &str) -> Result<()> {
        let request = format!(
            "PUT /sandboxes/{id}/network HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{network}",
            self.key,
            network.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (mut status, mut length) = (String::new(), 0);
        self.stream.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            ensure!(self.stream.read_line(&mut line)? > 0, "the API gave half an answer: {status:?}");
            match line.trim_end().split_once(':') {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse()?,
                Some(_) => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        ensure!(status.starts_with("HTTP/1.1 204 "), "{id}: {status} {}", String::from_utf8_lossy(&body));
        Ok(())
    }
}
