//! The sidecar by itself: connected to as the rivals are, without the kernel program. What the filter's own way has more is the kernel's part.

use super::NAME;
use super::peers::{Running, on_cpu};
use super::place::SOCKETS;
use super::server::PORT;
use crate::world::{LANES, Netns};
use anyhow::{Context, Result, ensure};
use filter_sidecar::Limits;
use filter_sidecar::protocol::{Order, Policy, Word, receive, send};
use nix::sys::socket::{Backlog, listen};
use std::net::{IpAddr, Ipv6Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

/// Where it listens.
pub(super) const ADDRESS: SocketAddrV4 = SocketAddrV4::new(LANES[1].gateway, PORT);

/// What a socket's buffers may grow to, as this kernel has it where nobody has changed it.
const GROWN: u64 = 10 << 20;

/// One that runs for as long as it is held.
pub(super) struct Alone {
    /// Its process.
    pub(super) running: Running,
    control: UnixStream,
}

impl Alone {
    /// Starts it. Call it on the main thread: the kernel ends it with the thread that started it.
    pub(super) fn start(netns: &Netns, cpu: usize, resolver: IpAddr) -> Result<Alone> {
        let (control, other) = UnixStream::pair()?;
        let child = on_cpu(netns, cpu)
            .arg(std::env::current_exe()?.with_file_name("filter-sidecar"))
            .stdin(Stdio::from(OwnedFd::from(other)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start filter-sidecar")?;
        let alone = Alone { running: Running::of(child), control };
        let listener = netns.within(|| Ok(TcpListener::bind(ADDRESS)?))?;
        listen(&listener, Backlog::new(4_095)?)?;
        // Nobody connects to this one.
        let v6 = netns.within(|| Ok(TcpListener::bind((Ipv6Addr::LOCALHOST, 0))?))?;
        let policy = Policy { generation: 1, names: vec![NAME.to_owned()], ..Policy::default() };
        let limits = Limits { sockets: SOCKETS, ..Limits::default() };
        let start = Order::Start {
            resolvers: vec![resolver],
            sources: Vec::new(),
            limits,
            grown_bytes: GROWN,
            tells_connections: false,
        };
        alone.order(&start, &[])?;
        alone.order(&Order::Begin { slot: 1, id: "alone".to_owned() }, &[listener.as_fd(), v6.as_fd()])?;
        alone.order(&Order::Prepare { slot: 1, policy }, &[])?;
        alone.order(&Order::Commit { slot: 1 }, &[])?;
        Ok(alone)
    }

    fn order(&self, order: &Order, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        send(&self.control, order, descriptors)?;
        let answer = receive::<Word>(&self.control)?;
        ensure!(matches!(answer, Some((Word::Done, _))), "filter-sidecar: {order:?}: {answer:?}");
        Ok(())
    }
}
