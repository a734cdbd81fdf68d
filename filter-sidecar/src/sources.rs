//! Where connections to servers come from.

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::{TcpSocket, TcpStream};

/// Addresses of the host that connections come from in turns: each has ports of its own towards every server.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    turn: AtomicUsize,
}

impl Sources {
    /// These; of a family without any, what the kernel chooses.
    pub(crate) fn new(addresses: &[IpAddr]) -> Sources {
        let (v4, v6) = addresses.iter().partition(|address| address.is_ipv4());
        Sources { v4, v6, turn: AtomicUsize::default() }
    }

    /// Connects from the next address in turn, or from one of the others if that has no port left towards there.
    pub(crate) async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let sources = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        if sources.is_empty() {
            return socket(to, None)?.connect(to).await;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
        for at in 0..sources.len() {
            outcome = socket(to, Some(sources[turn.wrapping_add(at) % sources.len()]))?.connect(to).await;
            if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable) {
                break;
            }
        }
        outcome
    }
}

/// A socket that comes from an address. Its port is chosen when it connects, so that only connections to the same server share the ports
/// (`IP_BIND_ADDRESS_NO_PORT`, Linux 4.2).
fn socket(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpSocket> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    if let Some(from) = from {
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(SocketAddr::new(from, 0))?;
    }
    Ok(socket)
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
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(sources.connect(to).await.unwrap().local_addr().unwrap().ip());
        }
        assert_eq!(seen, [addresses[0], addresses[2], addresses[0], addresses[2]]);
        let chosen = Sources::default().connect(to).await.unwrap();
        assert_eq!(chosen.local_addr().unwrap().ip(), IpAddr::from(Ipv4Addr::LOCALHOST));
        // No address of this host.
        let other = Sources::new(&["203.0.113.1".parse().unwrap()]);
        assert_eq!(other.connect(to).await.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }
}
