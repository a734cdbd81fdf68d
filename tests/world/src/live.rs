//! Flows that go on while a test changes something, and that can be seen to go on or to stop.

use std::{
    fs,
    net::{IpAddr, UdpSocket},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    clients::{
        curl::{self, Curl},
        udp::{connected, is_rejection},
    },
    node::Node,
    poll::{Deadline, poll, wait_until},
    process::Process,
};

/// A flow ends by itself after this.
const LIFE: Duration = Duration::from_secs(120);

/// The time between two datagrams of a stream.
const GAP: Duration = Duration::from_millis(10);

/// A flow whose progress can be polled.
pub trait Live {
    /// What has arrived so far; the unit is the flow's own. Never falls.
    fn progress(&self) -> u64;

    /// Waits until more arrives, at most for `within`; tells whether it did.
    fn grows(&self, within: Duration) -> bool {
        let before = self.progress();
        wait_until(within, || self.progress() > before)
    }

    /// Waits until nothing has arrived for `quiet`, at most for `within`; tells whether it came to that.
    fn stops(&self, quiet: Duration, within: Duration) -> bool {
        let (mut last, mut since) = (self.progress(), Instant::now());
        wait_until(within, || {
            let now = self.progress();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            since.elapsed() >= quiet
        })
    }
}

/// A curl that runs. Progress is in bytes of the body. Ends when dropped, or after two minutes.
#[derive(Debug)]
pub struct Download {
    process: Process,
    body: PathBuf,
}

impl Download {
    /// Waits for curl's end, at most for `within`, and tells how it ended; `None` while it runs.
    pub fn ended(&mut self, within: Duration) -> Result<Option<Curl>> {
        if poll(within, || (!self.process.is_running()).then_some(())).is_none() {
            return Ok(None);
        }
        self.process.wait(Duration::ZERO).and_then(curl::read).map(Some)
    }
}

impl Live for Download {
    fn progress(&self) -> u64 {
        fs::metadata(&self.body).map_or(0, |file| file.len())
    }
}

/// A hundred datagrams a second to a UDP echo. Progress is in echoes. Ends when dropped, or after two minutes.
#[derive(Debug)]
pub struct UdpStream {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
    echoed: AtomicU64,
    rejected: AtomicU64,
}

impl UdpStream {
    /// How many datagrams were handed to the kernel.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// How many ICMP errors came back.
    pub fn rejected(&self) -> u64 {
        self.shared.rejected.load(Ordering::Relaxed)
    }
}

impl Live for UdpStream {
    fn progress(&self) -> u64 {
        self.shared.echoed.load(Ordering::Relaxed)
    }
}

impl Drop for UdpStream {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Node {
    /// Starts to fetch `url`, as [`Node::curl`] does, and returns at once.
    pub fn download(&self, url: &str) -> Result<Download> {
        self.download_with(&[], url)
    }

    /// [`Node::download`] with more options of curl.
    pub fn download_with(&self, options: &[&str], url: &str) -> Result<Download> {
        let process = curl::start(self, &[&["--max-time", &LIFE.as_secs().to_string()], options].concat(), url)?;
        let body = process.stdout_path().to_owned();
        Ok(Download { process, body })
    }

    /// Starts to send datagrams to the echo at `address` and `port` from one socket, and returns at once.
    pub fn udp_stream(&self, address: impl Into<IpAddr>, port: u16) -> Result<UdpStream> {
        let address = address.into();
        let socket = self.within(|| connected(address, port, GAP))??;
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new()
            .spawn({
                let shared = shared.clone();
                move || exchange(&socket, &shared)
            })
            .context("cannot start a thread")?;
        Ok(UdpStream { shared, thread: Some(thread) })
    }
}

/// Sends a datagram at each beat and counts what comes back until the next.
fn exchange(socket: &UdpSocket, shared: &Shared) {
    let end = Deadline::after(LIFE);
    let mut received = [0; 64];
    while !shared.stop.load(Ordering::Relaxed) && !end.expired() {
        let beat = Deadline::after(GAP);
        // Counted before it is sent: an echo is never counted before its question.
        shared.sent.fetch_add(1, Ordering::Relaxed);
        let mut result = socket.send(b"stream").map(|_| ());
        loop {
            if result.as_ref().is_err_and(is_rejection) {
                shared.rejected.fetch_add(1, Ordering::Relaxed);
            }
            if beat.expired() {
                break;
            }
            result = socket.recv(&mut received).map(|_| {
                shared.echoed.fetch_add(1, Ordering::Relaxed);
            });
        }
    }
}
