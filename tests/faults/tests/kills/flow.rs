//! The allowed flow: a TCP connection over which data goes to an echo and back all the time.

use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use test_world::{Node, wait_until};

/// Between an echo and the next question.
const BEAT: Duration = Duration::from_millis(2);
/// An echo that takes longer has not come.
const PATIENCE: Duration = Duration::from_secs(20);
const PORT: u16 = 7000;

/// A connection that lives. Ends when dropped.
pub(crate) struct Flow {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    started: Instant,
    stop: AtomicBool,
    echoes: AtomicU64,
    /// When the last echo came, and the longest that one was waited for, microseconds.
    last: AtomicU64,
    longest: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Flow {
    /// Listens at an address of `server`, connects from `client`, and starts to talk.
    pub(crate) fn start(client: &Node, server: &Node, address: Ipv4Addr) -> Result<Flow> {
        let to = SocketAddr::from((address, PORT));
        let listener = server.within(|| TcpListener::bind(to))?.context("cannot listen")?;
        let stream = client.within(|| TcpStream::connect_timeout(&to, PATIENCE))?.context("cannot connect")?;
        let (accepted, _) = listener.accept()?;
        for side in [&stream, &accepted] {
            side.set_nodelay(true)?;
            side.set_read_timeout(Some(PATIENCE))?;
        }
        let shared = Arc::new(Shared {
            started: Instant::now(),
            stop: AtomicBool::new(false),
            echoes: AtomicU64::new(0),
            last: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            failure: Mutex::new(None),
        });
        let echo = thread::spawn(move || echo(accepted));
        let talk = thread::spawn({
            let shared = shared.clone();
            move || {
                if let Err(error) = talk(stream, &shared) {
                    *shared.failure.lock().expect("no panic under the lock") = Some(format!("{error:#}"));
                }
            }
        });
        Ok(Flow { shared, threads: vec![talk, echo] })
    }

    /// Waits for more echoes: the flow lives.
    pub(crate) fn goes_on(&self) -> Result<()> {
        let before = self.shared.echoes.load(Ordering::Relaxed);
        let more = wait_until(PATIENCE, || {
            self.failure().is_some() || self.shared.echoes.load(Ordering::Relaxed) > before + 5
        });
        let failure = self.failure();
        ensure!(failure.is_none(), "the allowed flow has ended: {}", failure.unwrap_or_default());
        ensure!(more, "the allowed flow stands still");
        Ok(())
    }

    /// The longest wait for an echo since the last call.
    pub(crate) fn longest_gap(&self) -> Duration {
        let waited = self.shared.now().saturating_sub(self.shared.last.load(Ordering::Relaxed));
        Duration::from_micros(self.shared.longest.swap(0, Ordering::Relaxed).max(waited))
    }

    fn failure(&self) -> Option<String> {
        self.shared.failure.lock().expect("no panic under the lock").clone()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn now(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }
}

fn talk(mut stream: TcpStream, shared: &Shared) -> Result<()> {
    let mut number: u64 = 0;
    let mut answer = [0; 8];
    shared.last.store(shared.now(), Ordering::Relaxed);
    while !shared.stop.load(Ordering::Relaxed) {
        number += 1;
        stream.write_all(&number.to_be_bytes()).context("cannot send")?;
        stream.read_exact(&mut answer).context("no echo")?;
        ensure!(answer == number.to_be_bytes(), "another echo than what was sent");
        let now = shared.now();
        let gap = now - shared.last.swap(now, Ordering::Relaxed);
        shared.longest.fetch_max(gap, Ordering::Relaxed);
        shared.echoes.fetch_add(1, Ordering::Relaxed);
        thread::sleep(BEAT);
    }
    Ok(())
}

/// Sends back what comes until the other side has ended.
fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 8];
    while stream.read_exact(&mut buffer).and_then(|()| stream.write_all(&buffer)).is_ok() {}
}
