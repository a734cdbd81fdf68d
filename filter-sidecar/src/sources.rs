//! Where connections to servers come from.

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::io::Errno;
use rustix::net::sockopt::{set_tcp_nodelay, set_tcp_quickack};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use tokio::net::TcpStream;

/// Addresses of the host that connections come from in turns: each has ports of its own towards every server.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    families: RwLock<Families>,
    turn: AtomicUsize,
}

/// The addresses of each family.
#[derive(Debug, Default)]
struct Families {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

impl Sources {
    /// These; of a family without any, what the kernel chooses.
    pub(crate) fn new(addresses: &[IpAddr]) -> Sources {
        let sources = Sources::default();
        sources.replace(addresses);
        sources
    }

    /// These, from the next connection on.
    pub(crate) fn replace(&self, addresses: &[IpAddr]) {
        let (v4, v6) = addresses.iter().partition(|address| address.is_ipv4());
        *self.families.write().unwrap_or_else(PoisonError::into_inner) = Families { v4, v6 };
    }

    /// Begins to connect ([`connected`]) from the next address in turn, or from one of the others if that has no port left towards there.
    /// `says_first` tells that something will be said at once.
    pub(crate) fn connect(&self, to: SocketAddr, says_first: bool) -> io::Result<OwnedFd> {
        let families = self.families.read().unwrap_or_else(PoisonError::into_inner);
        let sources = if to.is_ipv4() { &families.v4 } else { &families.v6 };
        if sources.is_empty() {
            return begin(to, None, says_first);
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
        for at in 0..sources.len() {
            outcome = begin(to, Some(sources[turn.wrapping_add(at) % sources.len()]), says_first);
            if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable) {
                break;
            }
        }
        outcome
    }
}

/// Waits for a connection that has begun.
pub(crate) async fn connected(stream: &TcpStream) -> io::Result<()> {
    stream.writable().await?;
    stream.take_error()?.map_or(Ok(()), Err)
}

/// Begins to connect from an address. The port is chosen when it connects, so that only connections to the same server share the ports
/// (`IP_BIND_ADDRESS_NO_PORT`, Linux 4.2).
fn begin(to: SocketAddr, from: Option<IpAddr>, says_first: bool) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    set_tcp_nodelay(&socket, true)?;
    if says_first {
        // The last packet of the handshake is the first with data.
        set_tcp_quickack(&socket, false)?;
    }
    if let Some(from) = from {
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        bind(&socket, &SocketAddr::new(from, 0))?;
    }
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[tokio::test]
    async fn connections_come_from_the_addresses_in_turns() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let addresses = ["127.0.0.2".parse().unwrap(), "::1".parse().unwrap(), "127.0.0.3".parse().unwrap()];
        let sources = Sources::new(&addresses);
        let local = |socket: OwnedFd| std::net::TcpStream::from(socket).local_addr().unwrap().ip();
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(local(sources.connect(to, false).unwrap()));
        }
        assert_eq!(seen, [addresses[0], addresses[2], addresses[0], addresses[2]]);
        let chosen = TcpStream::from_std(Sources::default().connect(to, false).unwrap().into()).unwrap();
        connected(&chosen).await.unwrap();
        assert_eq!(chosen.local_addr().unwrap().ip(), IpAddr::from(Ipv4Addr::LOCALHOST));
        // No address of this host.
        let other = Sources::new(&["203.0.113.1".parse().unwrap()]);
        assert_eq!(other.connect(to, false).unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }
}
