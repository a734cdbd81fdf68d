//! The clients: one thread on the CPU that is measured, with so many connections at a time.

use super::server::PORT;
use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// After so long something is lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Connections that are open at a time where as many as can be are made.
const AT_ONCE: usize = 16;
/// Connections at the beginning of a slice that warm the caches up again.
const WARM_UP: u32 = 64;
/// Most that is read at once.
const READ: usize = 128 << 10;

/// Whom a client says its hello to.
#[derive(Clone, Copy)]
pub(super) struct Aim<'a> {
    /// Where it connects to.
    pub(super) to: SocketAddrV4,
    /// What it says.
    pub(super) hello: &'a [u8],
}

impl Aim<'_> {
    /// Connects and says it.
    pub(super) fn open(&self) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.to).with_context(|| format!("connect to {}", self.to))?;
        stream.set_nodelay(true)?;
        stream.write_all(self.hello).context("the hello")?;
        Ok(stream)
    }

    /// One connection to its end.
    pub(super) fn once(&self) -> Result<()> {
        let mut stream = self.open()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut bytes = [0; 16];
        let read = stream.read(&mut bytes).context("the answer")?;
        ensure!(read == 1 && bytes[0] == 1, "no answer from the server: {:?}", &bytes[..read]);
        Ok(())
    }
}

/// What connections took.
pub(super) struct Made {
    /// The time of each, once caches were warm.
    pub(super) each: f64,
    /// All of them.
    pub(super) count: u32,
}

/// Connections until their ends, as many as can be.
pub(super) fn connections(aim: Aim<'_>, slice: Duration) -> Result<Made> {
    let mut open = Open::new()?;
    for _ in 0..AT_ONCE {
        open.begin(aim, Instant::now())?;
    }
    let (mut done, mut begun) = (0, None);
    loop {
        open.wait(PATIENCE, |_| done += 1)?;
        while open.streams.len() < AT_ONCE {
            open.begin(aim, Instant::now())?;
        }
        match begun {
            None if done >= WARM_UP => begun = Some((Instant::now(), done)),
            Some((at, before)) if Instant::now() - at >= slice => {
                let each = at.elapsed().as_nanos() as f64 / f64::from(done - before);
                return Ok(Made { each, count: done });
            }
            _ => {}
        }
    }
}

/// Connections at a given distance in time, whatever becomes of those before: how long each takes from when it was due to its end.
pub(super) fn paced(aim: Aim<'_>, every: Duration, slice: Duration) -> Result<Vec<f64>> {
    let mut open = Open::new()?;
    let mut times = Vec::new();
    let begun = Instant::now() + slice / 4;
    let (mut due, last) = (Instant::now(), begun + slice);
    while due < last || !open.streams.is_empty() {
        while due < last && due <= Instant::now() {
            open.begin(aim, due)?;
            due += every;
        }
        let left = if due < last { due.saturating_duration_since(Instant::now()) } else { PATIENCE };
        // Those before warm the caches up again.
        open.wait(left, |since| times.extend((since >= begun).then(|| since.elapsed().as_nanos() as f64)))?;
    }
    Ok(times)
}

/// Reads what a server pours into a connection: the time that a MiB takes.
pub(super) fn bulk(aim: Aim<'_>, slice: Duration) -> Result<f64> {
    let mut stream = aim.open()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = vec![0; READ];
    let warm = Instant::now();
    while warm.elapsed() < slice / 4 {
        ensure!(stream.read(&mut bytes).context("bulk")? > 0, "the server has ended");
    }
    let (begun, mut sum) = (Instant::now(), 0);
    while begun.elapsed() < slice {
        let read = stream.read(&mut bytes).context("bulk")?;
        ensure!(read > 0, "the server has ended");
        sum += read;
    }
    Ok(begun.elapsed().as_nanos() as f64 * f64::from(1 << 20) / sum as f64)
}

/// Connections that are open.
struct Open {
    epoll: Epoll,
    streams: BTreeMap<u64, (TcpStream, Instant)>,
}

impl Open {
    fn new() -> Result<Open> {
        Ok(Open { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?, streams: BTreeMap::new() })
    }

    fn begin(&mut self, aim: Aim<'_>, due: Instant) -> Result<()> {
        let stream = aim.open()?;
        stream.set_nonblocking(true)?;
        let number = stream.as_raw_fd().unsigned_abs().into();
        self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
        self.streams.insert(number, (stream, due));
        Ok(())
    }

    /// Waits for something to happen; tells of each connection that has ended when it was due.
    fn wait(&mut self, at_most: Duration, mut ended: impl FnMut(Instant)) -> Result<()> {
        let mut events = [EpollEvent::empty(); AT_ONCE];
        let mut wait = EpollTimeout::try_from(at_most)?;
        if at_most < PATIENCE {
            // Milliseconds would be too coarse: who is early would wait busily, and keep the others from the CPU.
            ppoll(&mut [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)], Some(at_most.into()), None)?;
            wait = EpollTimeout::ZERO;
        }
        let happened = self.epoll.wait(&mut events, wait)?;
        ensure!(happened > 0 || at_most < PATIENCE, "{PORT}: no answer within {} s", PATIENCE.as_secs());
        for event in &events[..happened] {
            let Some((stream, due)) = self.streams.get_mut(&event.data()) else { continue };
            let mut byte = [0; 16];
            match stream.read(&mut byte) {
                Ok(0) => {
                    ended(*due);
                    self.streams.remove(&event.data());
                }
                Ok(1) if byte[0] == 1 => {}
                Ok(read) => anyhow::bail!("another answer: {:?}", &byte[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("the answer"),
            }
        }
        Ok(())
    }
}
