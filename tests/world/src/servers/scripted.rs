//! A server that answers what a test wants, and keeps what it was sent.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
    sockopt::{ReuseAddr, ReusePort},
};

use crate::{node::Node, poll::Deadline};

/// A server ends by itself after this.
const LIFE: Duration = Duration::from_secs(600);

/// How soon a dropped server notices.
const TICK: Duration = Duration::from_millis(10);

/// A request that has come, up to the end of its body.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The number of the connection that it came on, from 0.
    pub connection: usize,
    /// Its number on that connection, from 0.
    pub request: usize,
    /// What came; bytes that are not UTF-8 are replaced.
    pub text: &'a str,
}

/// What a scripted server does next.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Sends this, and waits for the next request.
    Send(String),
    /// Sends this, then shuts the connection.
    Last(String),
}

impl Reply {
    /// A whole answer with this body.
    pub fn page(body: &str) -> Reply {
        Reply::Send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }
}

/// A server of HTTP/1 on port 80 of some addresses, in front of [`Nginx`](crate::Nginx) there. Ends when dropped.
#[derive(Debug)]
pub struct Scripted {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    received: Mutex<Vec<String>>,
}

impl Scripted {
    /// What came on each connection so far; bytes that are not UTF-8 are replaced.
    pub fn received(&self) -> Vec<String> {
        self.state.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Node {
    /// A listener on port 80 of an address, in front of [`Nginx`](crate::Nginx) there.
    pub fn in_front(&self, address: IpAddr) -> Result<TcpListener> {
        let listener = self.within(|| open(address))??;
        listener.set_nonblocking(false).context("cannot have it wait")?;
        Ok(listener)
    }

    /// Starts a server that answers each request as `script` says.
    pub fn scripted(
        &self,
        addresses: &[IpAddr],
        script: impl Fn(&Asked<'_>) -> Reply + Send + Sync + 'static,
    ) -> Result<Scripted> {
        let listeners =
            self.within(|| addresses.iter().map(|address| open(*address)).collect::<Result<Vec<_>>>())??;
        let state = Arc::new(State::default());
        let serving = state.clone();
        let script: Arc<Script> = Arc::new(script);
        let thread = thread::spawn(move || accept(&listeners, &serving, &script));
        Ok(Scripted { state, thread: Some(thread) })
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

type Script = dyn Fn(&Asked<'_>) -> Reply + Send + Sync;

fn open(address: IpAddr) -> Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    setsockopt(&socket, ReuseAddr, &true)?;
    setsockopt(&socket, ReusePort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address, 80)))
        .with_context(|| format!("cannot bind TCP {address} port 80"))?;
    listen(&socket, Backlog::new(128)?)?;
    Ok(TcpListener::from(socket))
}

fn accept(listeners: &[TcpListener], state: &Arc<State>, script: &Arc<Script>) {
    let end = Deadline::after(LIFE);
    while !state.stop.load(Ordering::Relaxed) && !end.expired() {
        for listener in listeners {
            while let Ok((stream, _)) = listener.accept() {
                let connection = {
                    let mut received = state.received.lock().unwrap_or_else(PoisonError::into_inner);
                    received.push(String::new());
                    received.len() - 1
                };
                let (state, script) = (state.clone(), script.clone());
                thread::spawn(move || serve(stream, connection, &state, &script, end));
            }
        }
        thread::sleep(TICK);
    }
}

fn serve(mut stream: TcpStream, connection: usize, state: &State, script: &Arc<Script>, end: Deadline) {
    let ready = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(TICK)));
    let (mut unread, mut bytes, mut request) = (Vec::new(), [0; 16 << 10], 0);
    while ready.is_ok() && !state.stop.load(Ordering::Relaxed) && !end.expired() {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(read) => {
                let text = String::from_utf8_lossy(&bytes[..read]);
                state.received.lock().unwrap_or_else(PoisonError::into_inner)[connection] += &text;
                unread.extend_from_slice(&bytes[..read]);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => return,
        }
        while let Some(length) = whole(&unread) {
            let text = String::from_utf8_lossy(&unread[..length]).into_owned();
            unread.drain(..length);
            let reply = script(&Asked { connection, request, text: &text });
            request += 1;
            let (Reply::Send(answer) | Reply::Last(answer)) = &reply;
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
            if let Reply::Last(_) = reply {
                stream.shutdown(Shutdown::Both).ok();
                return;
            }
        }
    }
}

/// The length of the first request, body included, once all of it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let find = |what: &[u8], from: usize| Some(from + bytes[from..].windows(what.len()).position(|at| at == what)?);
    let head = find(b"\r\n\r\n", 0)? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    if text.contains("\r\ntransfer-encoding: chunked\r\n") {
        // Nothing is pipelined behind chunks; long bodies are not searched again and again.
        return bytes[head..].ends_with(b"0\r\n\r\n").then_some(bytes.len());
    }
    let length = text.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let end = head + length.unwrap_or(0);
    (bytes.len() >= end).then_some(end)
}
