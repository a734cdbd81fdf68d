//! A name server that answers what a test wants, true or not.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{poll::Deadline, world::Internet};

/// A server ends by itself after this.
const LIFE: Duration = Duration::from_secs(600);

/// How soon a dropped server notices.
const TICK: Duration = Duration::from_millis(10);

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, in lower case, without a dot at its end.
    pub name: String,
    /// Whether IPv6 addresses are wanted; else those of IPv4.
    pub v6: bool,
    /// Whether it came over TCP.
    pub tcp: bool,
}

/// What a record says.
#[derive(Clone, Debug)]
pub enum Record {
    /// An address, of either family.
    Address(IpAddr),
    /// Another name.
    Alias(String),
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The response code; 0 is no error.
    pub code: u8,
    /// Whether it says that there is more.
    pub truncated: bool,
    /// Owner, TTL in seconds, and content of each record. Addresses of the family that was not asked for are left out.
    pub records: Vec<(String, u32, Record)>,
}

impl Answer {
    /// These addresses of the name that was asked for.
    pub fn addresses(question: &Question, ttl: u32, addresses: &[IpAddr]) -> Answer {
        let record = |address: &IpAddr| (question.name.clone(), ttl, Record::Address(*address));
        Answer { records: addresses.iter().map(record).collect(), ..Answer::default() }
    }
}

/// A name server on UDP and TCP port 53. Ends when dropped.
#[derive(Debug)]
pub struct Liar {
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    asked: Mutex<Vec<Question>>,
}

impl Liar {
    /// The questions so far.
    pub fn asked(&self) -> Vec<Question> {
        self.state.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

type Script = dyn Fn(&Question) -> Option<Answer> + Send + Sync;

impl Internet {
    /// Starts a name server at `address` that answers as `script` says; `None` is silence.
    pub fn liar(
        &self,
        address: IpAddr,
        script: impl Fn(&Question) -> Option<Answer> + Send + Sync + 'static,
    ) -> Result<Liar> {
        self.add_address(address)?;
        let at = SocketAddr::new(address, 53);
        let (udp, tcp) = self
            .within(|| Ok::<_, std::io::Error>((UdpSocket::bind(at)?, TcpListener::bind(at)?)))?
            .with_context(|| format!("cannot bind {at}"))?;
        udp.set_read_timeout(Some(TICK))?;
        tcp.set_nonblocking(true)?;
        let (state, script): (_, Arc<Script>) = (Arc::new(State::default()), Arc::new(script));
        let (one, other) = ((state.clone(), script.clone()), (state.clone(), script));
        let threads = vec![
            thread::spawn(move || datagrams(&udp, &one.0, &one.1)),
            thread::spawn(move || connections(&tcp, &other.0, &other.1)),
        ];
        Ok(Liar { state, threads })
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn datagrams(socket: &UdpSocket, state: &State, script: &Arc<Script>) {
    let end = Deadline::after(LIFE);
    let mut message = [0; 4096];
    while !state.stop.load(Ordering::Relaxed) && !end.expired() {
        if let Ok((length, peer)) = socket.recv_from(&mut message)
            && let Some(answer) = answer(&message[..length], false, state, script)
        {
            socket.send_to(&answer, peer).ok();
        }
    }
}

fn connections(listener: &TcpListener, state: &Arc<State>, script: &Arc<Script>) {
    let end = Deadline::after(LIFE);
    while !state.stop.load(Ordering::Relaxed) && !end.expired() {
        match listener.accept() {
            Ok((stream, _)) => {
                let (state, script) = (state.clone(), script.clone());
                thread::spawn(move || connection(stream, &state, &script, end));
            }
            Err(_) => thread::sleep(TICK),
        }
    }
}

fn connection(mut stream: TcpStream, state: &State, script: &Arc<Script>, end: Deadline) {
    let (mut unread, mut bytes) = (Vec::new(), [0; 4096]);
    if stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(TICK))).is_err() {
        return;
    }
    while !state.stop.load(Ordering::Relaxed) && !end.expired() {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(read) => unread.extend_from_slice(&bytes[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
        while let [high, low, rest @ ..] = &unread[..]
            && let Some(message) = rest.get(..usize::from(u16::from_be_bytes([*high, *low])))
        {
            let (length, answer) = (message.len(), answer(message, true, state, script));
            unread.drain(..length + 2);
            if let Some(answer) = answer {
                let size = u16::try_from(answer.len()).expect("an answer fits").to_be_bytes();
                stream.write_all(&[&size[..], &answer].concat()).ok();
            }
        }
    }
}

/// The answer to a message (RFC 1035, section 4), with the question as it came.
fn answer(message: &[u8], tcp: bool, state: &State, script: &Arc<Script>) -> Option<Vec<u8>> {
    const AAAA: u16 = 28;
    let (mut labels, mut at) = (Vec::new(), 12);
    while let Some(length) = message.get(at).copied().filter(|length| *length > 0) {
        let label = message.get(at + 1..at + 1 + usize::from(length))?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += 1 + usize::from(length);
    }
    let end = at + 5;
    let kind = u16::from_be_bytes(message.get(at + 1..at + 3)?.try_into().ok()?);
    let question = Question { name: labels.join("."), v6: kind == AAAA, tcp };
    state.asked.lock().unwrap_or_else(PoisonError::into_inner).push(question.clone());
    let answer = script(&question)?;
    let records: Vec<Vec<u8>> = answer.records.iter().filter_map(|one| record(one, question.v6)).collect();
    let flags = [0x81 | u8::from(answer.truncated) << 1, 0x80 | answer.code];
    let count = u16::try_from(records.len()).ok()?.to_be_bytes();
    let head = [message.get(..2)?, &flags, &[0, 1], &count, &[0, 0, 0, 0], message.get(12..end)?].concat();
    Some([head, records.concat()].concat())
}

fn record((owner, ttl, content): &(String, u32, Record), v6: bool) -> Option<Vec<u8>> {
    let (kind, data): (u16, Vec<u8>) = match content {
        Record::Address(IpAddr::V4(v4)) if !v6 => (1, v4.octets().to_vec()),
        Record::Address(IpAddr::V6(address)) if v6 => (28, address.octets().to_vec()),
        Record::Address(_) => return None,
        Record::Alias(name) => (5, wire_name(name)),
    };
    let length = u16::try_from(data.len()).ok()?.to_be_bytes();
    Some([&wire_name(owner)[..], &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length, &data].concat())
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).expect("a label has at most 63 bytes"));
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}
