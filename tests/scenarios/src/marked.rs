//! Sockets with a packet mark, as a process of the filter has them.

use anyhow::{Context, Result};
use nix::sys::socket::sockopt::{Mark, ReceiveTimeout, SendTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket};
use nix::sys::time::TimeVal;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;
use test_world::Node;

/// The answers that a node gets through sockets with one mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// A web page over plain HTTP.
    pub http: bool,
    /// A datagram that is echoed.
    pub udp: bool,
    /// An echo request.
    pub ping: bool,
}

/// Asks `address` from `node` through sockets with a mark: a web page, an echoed datagram, an echo request.
///
/// # Errors
/// When a client cannot run.
pub fn marked(node: &Node, mark: u32, address: IpAddr, patience: Duration) -> Result<Marked> {
    let exchange = |kind, port, question: &[u8]| {
        node.within(|| exchange(kind, mark, SocketAddr::new(address, port), question, patience))?
    };
    let (seconds, number) = (patience.as_secs_f32().to_string(), mark.to_string());
    let ping = ["ping", "-n", "-c", "1", "-W", &seconds, "-m", &number, &address.to_string()];
    Ok(Marked {
        http: exchange(SockType::Stream, 80, b"GET / HTTP/1.0\r\n\r\n")?,
        udp: exchange(SockType::Datagram, crate::probe::ECHO, b"marked")?,
        ping: node.run_within(patience + Duration::from_secs(5), &ping)?.status.success(),
    })
}

/// Whether anything comes back for a question.
fn exchange(kind: SockType, mark: u32, to: SocketAddr, question: &[u8], patience: Duration) -> Result<bool> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).context("cannot open a socket")?;
    let patience = TimeVal::new(patience.as_secs().try_into()?, patience.subsec_micros().into());
    setsockopt(&socket, Mark, &mark).context("cannot mark a socket")?;
    setsockopt(&socket, SendTimeout, &patience)?;
    setsockopt(&socket, ReceiveTimeout, &patience)?;
    if connect(socket.as_raw_fd(), &SockaddrStorage::from(to)).is_err() {
        return Ok(false);
    }
    let mut socket = File::from(socket);
    Ok(socket.write_all(question).is_ok() && socket.read(&mut [0; 2048]).is_ok_and(|length| length > 0))
}
