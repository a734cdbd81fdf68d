//! Clients that ask again and again.

use crate::servers::hello;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use test_world::Node;

/// How long a client under load waits for an answer before it asks again.
const PATIENCE: Duration = Duration::from_millis(150);
/// Between a client's requests.
const PAUSE: Duration = Duration::from_millis(4);

/// The status of one request on a connection of its own. Of a TLS hello that is what HTTP would have said: 200 where the server answers it.
pub(crate) fn ask(to: SocketAddr, name: &str, patience: Duration) -> Result<u16> {
    let mut stream = TcpStream::connect_timeout(&to, patience)?;
    stream.set_read_timeout(Some(patience))?;
    if to.port() == 443 {
        stream.write_all(&hello(name))?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).context("no answer")?;
        return match answer {
            // The sidecar's own alerts: access_denied, internal_error.
            [21, 3, 3, 0, 2, 2, 49] => Ok(403),
            [21, 3, 3, 0, 2, 2, 80] => bail!("no server"),
            // nginx has no cipher for such a short hello, and says so.
            [21, 3, _, 0, 2, 2, _] | [22, ..] => Ok(200),
            other => bail!("no TLS: {other:?}"),
        };
    }
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    read.context("no answer")?;
    status.context("no answer")
}

/// What a client asks for, and is to get.
pub(crate) struct Question {
    pub(crate) to: SocketAddr,
    pub(crate) name: &'static str,
    pub(crate) status: u16,
}

/// A client of one sandbox.
pub(crate) struct Client {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    right: AtomicU64,
    failed: AtomicU64,
    /// Requests that were refused as if by the policy.
    refused: AtomicU64,
    /// When the last request that succeeded began and ended.
    last: Mutex<Option<(Instant, Instant)>>,
    /// An answer that must not be.
    wrong: Mutex<Option<String>>,
}

impl Client {
    pub(crate) fn start(node: &Node, question: Question) -> Client {
        let shared = Arc::new(Shared::default());
        let thread = thread::spawn({
            let (shared, node) = (shared.clone(), node.clone());
            move || {
                let entered = node.within(|| shared.ask_on(&question));
                if let Err(error) = entered {
                    *shared.wrong.lock().expect("no panic under the lock") = Some(format!("{error:#}"));
                }
            }
        });
        Client { shared, thread: Some(thread) }
    }

    /// Requests that were answered as they are to be, and those that were not answered.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.shared.right.load(Ordering::Relaxed), self.shared.failed.load(Ordering::Relaxed))
    }

    /// Requests that were refused, though they are to be answered.
    pub(crate) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// When a request had succeeded that was begun after a moment.
    pub(crate) fn succeeded_after(&self, moment: Instant) -> Option<Instant> {
        let last = *self.shared.last.lock().expect("no panic under the lock");
        last.filter(|(began, _)| *began > moment).map(|(_, ended)| ended)
    }

    /// An answer that must not be.
    pub(crate) fn wrong(&self) -> Option<String> {
        self.shared.wrong.lock().expect("no panic under the lock").clone()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn ask_on(&self, Question { to, name, status }: &Question) {
        while !self.stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            match ask(*to, name, PATIENCE) {
                Ok(got) if got == *status => {
                    self.right.fetch_add(1, Ordering::Relaxed);
                    *self.last.lock().expect("no panic under the lock") = Some((began, Instant::now()));
                }
                Ok(200) => {
                    *self.wrong.lock().expect("no panic under the lock") = Some(format!("{to} {name} was answered"));
                }
                Ok(403) => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
                _ => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
            }
            thread::sleep(PAUSE);
        }
    }
}
