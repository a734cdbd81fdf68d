//! The server behind all relays: one thread on the CPU that is measured.

use crate::probe;
use crate::world::Netns;
use anyhow::{Context, Result, anyhow};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{Backlog, listen};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where TLS servers listen.
pub(super) const PORT: u16 = 443;
/// Connections that may wait to be taken.
const BACKLOG: i32 = 4_096;
/// Events that are taken at once.
const EVENTS: usize = 256;
/// Number of the listener's events; a descriptor is never so large.
const LISTENER: u64 = u64::MAX;
/// Most that is read or written at once.
const AT_ONCE: usize = 128 << 10;

/// What it does with those who have said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Manner {
    /// A byte, and the end.
    Close,
    /// A byte, and the connection stays.
    Hold,
    /// As many bytes as it takes, until it ends.
    Pour,
}

/// It ends when it is dropped.
pub(super) struct Server {
    manner: Arc<AtomicU8>,
    ended: Arc<AtomicBool>,
    running: Option<JoinHandle<Result<()>>>,
}

impl Server {
    /// One that listens at every address of a namespace.
    pub(super) fn start(netns: &Netns) -> Result<Server> {
        let listener = netns.within(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?)).context("the server")?;
        listen(&listener, Backlog::new(BACKLOG)?)?;
        listener.set_nonblocking(true)?;
        let (manner, ended) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicBool::new(false)));
        let (own, end) = (manner.clone(), ended.clone());
        let running = std::thread::spawn(move || serve(&listener, &own, &end));
        Ok(Server { manner, ended, running: Some(running) })
    }

    /// Serves like this from now on; connections under way are served by their next event.
    pub(super) fn set(&self, manner: Manner) {
        self.manner.store(manner as u8, Ordering::Relaxed);
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it has failed.
    pub(super) fn end(&mut self) -> Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        let running = self.running.take().context("it has ended")?;
        running.join().map_err(|_| anyhow!("the server panicked"))?.context("the server")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn serve(listener: &TcpListener, manner: &AtomicU8, ended: &AtomicBool) -> Result<()> {
    probe::stay()?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut connections: HashMap<u64, TcpStream> = HashMap::new();
    let mut events = [EpollEvent::empty(); EVENTS];
    let mut bytes = vec![0; AT_ONCE];
    while !ended.load(Ordering::Relaxed) {
        let happened = epoll.wait(&mut events, EpollTimeout::try_from(Duration::from_millis(100))?)?;
        for event in &events[..happened] {
            let number = event.data();
            if number == LISTENER {
                while let Some(stream) = accept(listener)? {
                    let number = stream.as_raw_fd().unsigned_abs().into();
                    let wanted = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
                    epoll.add(&stream, EpollEvent::new(wanted, number))?;
                    connections.insert(number, stream);
                }
                continue;
            }
            let stays = connections.get_mut(&number).is_none_or(|stream| answer(stream, manner, &mut bytes));
            if !stays {
                connections.remove(&number);
            }
        }
    }
    Ok(())
}

fn accept(listener: &TcpListener) -> Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok(Some(stream))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error).context("accept"),
    }
}

/// Answers what has been said; whether the connection stays.
fn answer(stream: &mut TcpStream, manner: &AtomicU8, bytes: &mut [u8]) -> bool {
    const CLOSE: u8 = Manner::Close as u8;
    const HOLD: u8 = Manner::Hold as u8;
    let manner = manner.load(Ordering::Relaxed);
    let said = stream.read(bytes);
    match (said, manner) {
        (Ok(0), _) => false,
        (Ok(_), CLOSE) => stream.write_all(&[1]).is_err(),
        (Ok(_), HOLD) => stream.write_all(&[1]).is_ok(),
        (Ok(_), _) => pour(stream, bytes),
        (Err(error), CLOSE | HOLD) => error.kind() == ErrorKind::WouldBlock,
        (Err(error), _) => error.kind() == ErrorKind::WouldBlock && pour(stream, bytes),
    }
}

fn pour(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    loop {
        // However much of it is written: all bytes are alike.
        match stream.write(bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}
