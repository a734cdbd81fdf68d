//! A TCP server that keeps what it hears.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
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
/// How soon a dropped recorder notices.
const TICK: Duration = Duration::from_millis(20);
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
    stop: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<Heard>>>,
    thread: Option<JoinHandle<()>>,
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
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
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
        let (stop, heard) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let thread = thread::spawn({
            let (stop, heard) = (stop.clone(), Arc::clone(&heard));
            move || listen(&listener, &stop, &heard)
        });
        Ok(Recorder { stop, heard, thread: Some(thread) })
    }
}

fn listen(listener: &TcpListener, stop: &Arc<AtomicBool>, heard: &Arc<Mutex<Vec<Heard>>>) {
    let end = Deadline::after(LIFE);
    let mut threads = Vec::new();
    while !stop.load(Ordering::Relaxed) && !end.expired() {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        let (stop, heard) = (stop.clone(), heard.clone());
        // A connection that ends in an error is as good as any other end.
        let serve = move || drop(record(stream, &stop, &heard));
        threads.push(thread::Builder::new().stack_size(STACK).spawn(serve).expect("a thread"));
    }
    for thread in threads {
        thread.join().ok();
    }
}

fn record(mut stream: TcpStream, stop: &AtomicBool, heard: &Mutex<Vec<Heard>>) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(TICK))?;
    let at = stream.local_addr()?.ip().to_canonical();
    let number = {
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push(Heard { at, bytes: Vec::new() });
        heard.len() - 1
    };
    let (mut bytes, mut first) = (vec![0; 16 << 10], true);
    let end = Deadline::after(LIFE);
    while !stop.load(Ordering::Relaxed) && !end.expired() {
        match stream.read(&mut bytes) {
            Ok(0) => return stream.write_all(Recorder::ENDED),
            Ok(length) => {
                heard.lock().unwrap_or_else(PoisonError::into_inner)[number].bytes.extend_from_slice(&bytes[..length]);
                if first {
                    stream.write_all(Recorder::HEARD)?;
                }
                first = false;
                if bytes[..length].ends_with(Recorder::FINISH) {
                    stream.shutdown(Shutdown::Write)?;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
