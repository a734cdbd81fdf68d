//! A TCP server that keeps what it hears.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};

use super::START_LIMIT;
use crate::{
    node::Node,
    poll::{Deadline, poll},
};

/// A recorder ends by itself after this.
const LIFE: Duration = Duration::from_secs(120);
/// How often it looks for new connections.
const TICK: Duration = Duration::from_millis(1);
/// Enough for a thread that copies bytes: there may be thousands.
const STACK: usize = 128 << 10;

/// What a client said over one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The address that it connected to.
    pub at: IpAddr,
    /// All of it so far.
    pub bytes: Vec<u8>,
}

/// Listens on one port of every address of its node. It answers what comes first with [`Recorder::HEARD`], and a client's end with
/// [`Recorder::ENDED`]. A client that asks for it by [`Recorder::FINISH`] hears the server's end first. Ends when dropped, or after two minutes.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    connections: Mutex<Vec<(Arc<TcpStream>, Heard)>>,
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Vec<(Arc<TcpStream>, Heard)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// The answer to the first bytes.
    pub const HEARD: &[u8] = b"heard.";
    /// The answer to the client's end.
    pub const ENDED: &[u8] = b"ended.";
    /// Ends the server's side of the connection, as the last bytes of what is said first.
    pub const FINISH: &[u8] = b"finish!";

    /// The connections so far, in the order of their beginnings.
    pub fn heard(&self) -> Vec<Heard> {
        self.shared.connections().iter().map(|(_, heard)| heard.clone()).collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Node {
    /// Starts a recorder, once the port is free.
    pub fn recorder(&self, port: u16) -> Result<Recorder> {
        let bound = self.within(|| poll(START_LIMIT, || TcpListener::bind(("::", port)).ok()))?;
        let listener = bound.with_context(|| format!("port {port} of {} is not free", self.name()))?;
        listener.set_nonblocking(true)?;
        let shared = Arc::<Shared>::default();
        let thread = thread::spawn({
            let shared = shared.clone();
            move || listen(&listener, &shared)
        });
        Ok(Recorder { shared, thread: Some(thread) })
    }
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    let end = Deadline::after(LIFE);
    let mut threads = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) && !end.expired() {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(TICK);
            continue;
        };
        let shared = shared.clone();
        // A connection that ends in an error is as good as any other end.
        let serve = move || drop(record(stream, &shared));
        threads.push(thread::Builder::new().stack_size(STACK).spawn(serve).expect("a thread"));
    }
    for (stream, _) in shared.connections().iter() {
        // Most have ended by themselves.
        stream.shutdown(Shutdown::Both).ok();
    }
    for thread in threads {
        thread.join().ok();
    }
}

fn record(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(LIFE))?;
    let at = stream.local_addr()?.ip().to_canonical();
    let stream = Arc::new(stream);
    let number = {
        let mut connections = shared.connections();
        connections.push((stream.clone(), Heard { at, bytes: Vec::new() }));
        connections.len() - 1
    };
    let mut stream = &*stream;
    let (mut bytes, mut first) = (vec![0; 16 << 10], true);
    // Who comes between the last look for connections and the end of all is not waited for.
    while !shared.stop.load(Ordering::Relaxed) {
        let length = stream.read(&mut bytes)?;
        if length == 0 {
            stream.write_all(Recorder::ENDED)?;
            return stream.shutdown(Shutdown::Both);
        }
        shared.connections()[number].1.bytes.extend_from_slice(&bytes[..length]);
        if first {
            stream.write_all(Recorder::HEARD)?;
        }
        first = false;
        if bytes[..length].ends_with(Recorder::FINISH) {
            stream.shutdown(Shutdown::Write)?;
        }
    }
    Ok(())
}
