//! Who listens on the internet: whatever is said over TCP is kept, and answered as if it were HTTP.

use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use test_world::Node;

/// A connection ends after this without a word.
const IDLE: Duration = Duration::from_secs(5);
/// Enough for a thread that copies bytes.
const STACK: usize = 128 << 10;
/// What is kept of a connection.
const KEPT: usize = 1 << 20;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

type Streams = Arc<Mutex<Vec<Vec<u8>>>>;

/// Listens on ports of every address of a node, until the process ends.
pub(crate) struct Server(Streams);

impl Server {
    pub(crate) fn start(node: &Node, ports: &[u16]) -> Result<Server> {
        let streams = Streams::default();
        for port in ports {
            let listener = node.within(|| TcpListener::bind(("::", *port)))??;
            let streams = streams.clone();
            thread::Builder::new()
                .spawn(move || {
                    for stream in listener.incoming().flatten() {
                        let streams = streams.clone();
                        // A connection that gets no thread is one that nobody listens to.
                        drop(thread::Builder::new().stack_size(STACK).spawn(move || drop(keep(stream, &streams))));
                    }
                })
                .context("a thread")?;
        }
        Ok(Server(streams))
    }

    /// Whether anybody has said these bytes.
    pub(crate) fn heard(&self, words: &[u8]) -> bool {
        let streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        streams.iter().any(|stream| stream.windows(words.len()).any(|window| window == words))
    }

    /// Forgets all that was said.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().for_each(Vec::clear);
    }
}

fn keep(mut stream: TcpStream, streams: &Streams) -> Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    let number = {
        let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.push(Vec::new());
        streams.len() - 1
    };
    let mut bytes = [0; 16 << 10];
    loop {
        let length = stream.read(&mut bytes)?;
        if length == 0 {
            return Ok(());
        }
        let is_redirect = {
            let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = &mut streams[number];
            let room = KEPT.saturating_sub(kept.len());
            kept.extend_from_slice(&bytes[..length.min(room)]);
            redirect(kept)
        };
        match is_redirect {
            Some(to) => stream.write_all(
                format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .as_bytes(),
            )?,
            None => stream.write_all(ANSWER)?,
        }
    }
}

/// Where a request wants to be sent: `GET /redirect/…`.
fn redirect(said: &[u8]) -> Option<String> {
    let rest = said.strip_prefix(b"GET /redirect/")?;
    let end = rest.iter().position(|byte| *byte == b' ')?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}
