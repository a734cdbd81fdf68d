//! The floor: a relay that knows one server, looks at nothing and copies, on one thread.

use anyhow::{Context, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, connect, listen, socket};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// Events that are taken at once.
const EVENTS: usize = 256;
/// Number of the listener's events.
const LISTENER: u64 = u64::MAX;
/// Most that is read at once.
const AT_ONCE: usize = 64 << 10;

/// How it is started.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen
    listen: SocketAddrV4,
    /// Whom to copy to
    to: SocketAddrV4,
}

/// Copies until it is killed.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let listener = TcpListener::bind(arguments.listen).context("cannot listen")?;
    listen(&listener, Backlog::new(4_095)?)?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut relay = Relay { epoll, ends: Vec::new(), bytes: vec![0; AT_ONCE] };
    let mut events = [EpollEvent::empty(); EVENTS];
    loop {
        let happened = relay.epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..happened] {
            if event.data() == LISTENER {
                while let Ok((client, _)) = listener.accept() {
                    relay.begin(client, arguments.to)?;
                }
            } else {
                relay.look(usize::try_from(event.data())?);
            }
        }
    }
}

struct Relay {
    epoll: Epoll,
    /// By descriptor.
    ends: Vec<Option<End>>,
    bytes: Vec<u8>,
}

/// One end of a connection.
struct End {
    stream: TcpStream,
    /// The other one's descriptor.
    other: usize,
    /// What it has not taken yet of what the other one has said.
    due: Vec<u8>,
    /// It has said all.
    ended: bool,
    /// What it is watched for.
    watched: EpollFlags,
}

impl Relay {
    fn begin(&mut self, client: TcpStream, to: SocketAddrV4) -> Result<()> {
        client.set_nonblocking(true)?;
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let server = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        match connect(server.as_raw_fd(), &SockaddrIn::from(to)) {
            Ok(()) | Err(nix::errno::Errno::EINPROGRESS) => {}
            Err(error) => return Err(error).context("connect"),
        }
        let streams = [client, TcpStream::from(server)];
        let [client, server] = streams.each_ref().map(|stream| stream.as_raw_fd().unsigned_abs() as usize);
        for ((stream, own), other) in streams.into_iter().zip([client, server]).zip([server, client]) {
            self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, own as u64))?;
            if self.ends.len() <= own {
                self.ends.resize_with(own + 1, || None);
            }
            self.ends[own] = Some(End { stream, other, due: Vec::new(), ended: false, watched: EpollFlags::EPOLLIN });
        }
        Ok(())
    }

    /// Carries what an end says, and what it has room for.
    fn look(&mut self, own: usize) {
        // Of a pair that is gone.
        let Some(other) = self.ends.get(own).and_then(Option::as_ref).map(|end| end.other) else { return };
        let Relay { epoll, ends, bytes } = self;
        let Ok([Some(one), Some(two)]) = ends.get_disjoint_mut([own, other]) else { return };
        let carried = one.take(bytes, two).and_then(|()| one.flush()).is_ok();
        let watched = carried && one.watch(two, epoll, own).and_then(|()| two.watch(one, epoll, other)).is_ok();
        if !watched || (one.ended && two.ended && one.due.is_empty() && two.due.is_empty()) {
            ends[own] = None;
            ends[other] = None;
        }
    }
}

impl End {
    /// Hands on what it says, once.
    fn take(&mut self, bytes: &mut [u8], to: &mut End) -> std::io::Result<()> {
        if self.ended || !to.due.is_empty() {
            return Ok(());
        }
        match self.stream.read(bytes) {
            Ok(0) => {
                self.ended = true;
                to.stream.shutdown(Shutdown::Write)
            }
            Ok(read) => to.write(&bytes[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let due = std::mem::take(&mut self.due);
        self.write(&due)
    }

    /// Watches for what can be done next.
    fn watch(&mut self, other: &End, epoll: &Epoll, own: usize) -> Result<()> {
        let mut wanted = EpollFlags::empty();
        wanted.set(EpollFlags::EPOLLIN, !self.ended && other.due.is_empty());
        wanted.set(EpollFlags::EPOLLOUT, !self.due.is_empty());
        if wanted != self.watched {
            epoll.modify(&self.stream, &mut EpollEvent::new(wanted, own as u64))?;
            self.watched = wanted;
        }
        Ok(())
    }

    /// Writes what it takes; the rest is due.
    fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::NotConnected => break,
                Err(error) => return Err(error),
            }
        }
        self.due = bytes.to_vec();
        Ok(())
    }
}
