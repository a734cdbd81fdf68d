//! Servers that say what was sent to them again and again, and clients whose connections to them last.

use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use test_world::Node;

/// Who does not answer for so long has dropped the connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between a client's questions.
const PAUSE: Duration = Duration::from_millis(2);
/// What is asked and answered behind a hello.
const QUESTION: [u8; 8] = *b"question";

/// A server on ports 80 (HTTP) and 443 (whatever comes is sent back) of an address. Lives as long as its process.
pub(crate) fn serve(node: &Node, address: IpAddr) -> Result<()> {
    for port in [80, 443] {
        let listener = node.within(|| TcpListener::bind((address, port)))?.context("cannot listen")?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || if port == 80 { answer(stream) } else { echo(stream) });
            }
        });
    }
    Ok(())
}

fn answer(stream: TcpStream) {
    let Ok(mut writing) = stream.try_clone() else { return };
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.is_empty() && writing.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

fn echo(mut stream: TcpStream) {
    let mut bytes = [0; 2048];
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..read]).is_err() {
            return;
        }
    }
}

/// A connection that a client opens for a name.
pub(crate) enum Line {
    /// Requests, one after the other.
    Http { name: &'static str, stream: BufReader<TcpStream> },
    /// A TLS hello, and what is behind it.
    Tls { stream: TcpStream },
}

impl Line {
    pub(crate) fn open(to: SocketAddr, name: &'static str) -> Result<Line> {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        if to.port() == 80 {
            return Ok(Line::Http { name, stream: BufReader::new(stream) });
        }
        let (hello, mut echoed) = (hello(name), Vec::new());
        stream.write_all(&hello)?;
        echoed.resize(hello.len(), 0);
        stream.read_exact(&mut echoed).context("the hello does not come back")?;
        ensure!(echoed == hello, "another answer than the hello");
        Ok(Line::Tls { stream })
    }

    /// One question and its answer.
    pub(crate) fn ask(&mut self) -> Result<()> {
        match self {
            Line::Http { name, stream } => {
                write!(stream.get_mut(), "GET / HTTP/1.1\r\nHost: {name}\r\n\r\n")?;
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    ensure!(stream.read_line(&mut head)? > 0, "the connection has ended: {head:?}");
                }
                ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
                stream.read_exact(&mut [0; 2])?;
            }
            Line::Tls { stream } => {
                let mut answer = [0; QUESTION.len()];
                stream.write_all(&QUESTION)?;
                stream.read_exact(&mut answer)?;
                ensure!(answer == QUESTION, "another answer than the question");
            }
        }
        Ok(())
    }
}

/// What a client does with its connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// It keeps one, and asks on it all the time; never opens another.
    Keeps,
    /// It opens one for each question.
    Opens,
    /// It keeps one while that goes, and opens another.
    Tries,
}

/// A client that asks until it is dropped.
pub(crate) struct Asking {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Asking {
    pub(crate) fn start(node: &Node, to: SocketAddr, name: &'static str, habit: Habit) -> Asking {
        let shared = Arc::new(Shared::default());
        let thread = thread::spawn({
            let (shared, node) = (shared.clone(), node.clone());
            move || {
                node.within(|| shared.go_on(to, name, habit)).ok();
            }
        });
        Asking { shared, thread: Some(thread) }
    }

    /// Questions that were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Connections and questions that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// The first failure.
    pub(crate) fn failure(&self) -> Option<String> {
        self.shared.failure.lock().expect("no panic under the lock").clone()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn go_on(&self, to: SocketAddr, name: &'static str, habit: Habit) {
        let mut line = None;
        while !self.stop.load(Ordering::Relaxed) {
            let asked = match &mut line {
                Some(line) => Line::ask(line),
                none => Line::open(to, name).and_then(|opened| none.insert(opened).ask()),
            };
            match asked {
                Ok(()) => drop(self.answered.fetch_add(1, Ordering::Relaxed)),
                Err(error) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    let told = format!("{to} {name}: {error:#}");
                    self.failure.lock().expect("no panic under the lock").get_or_insert(told);
                    if habit == Habit::Keeps {
                        return;
                    }
                    line = None;
                }
            }
            if habit == Habit::Opens {
                line = None;
            }
            thread::sleep(PAUSE);
        }
    }
}

/// A `ClientHello` with a name (RFC 8446, section 4.1.2; RFC 6066, section 3).
pub(crate) fn hello(name: &str) -> Vec<u8> {
    let with_length = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &with_length(body)].concat();
    let host = [&[0][..], &with_length(name.as_bytes())].concat();
    let names = extension(0, &with_length(&host));
    // ecdsa_secp256r1_sha256
    let signatures = extension(13, &with_length(&[4, 3]));
    let mut body = [&[3, 3][..], &[7; 32], &[0], &with_length(&[0x13, 0x01]), &[1, 0]].concat();
    body.extend(with_length(&[names, signatures].concat()));
    let handshake = [&[1, 0][..], &with_length(&body)].concat();
    [&[22, 3, 1][..], &with_length(&handshake)].concat()
}
