//! A UDP server that sends back what it gets.

use std::{
    io,
    net::{IpAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{node::Node, poll::Deadline};

/// An echo ends by itself after this.
const LIFE: Duration = Duration::from_secs(3600);

/// How soon a dropped echo notices.
const TICK: Duration = Duration::from_millis(20);

/// Echoes datagrams on one port of each address that its node had when it was started. It answers from the address that
/// was asked, which a socket on the wildcard address would not. Ends when dropped, or after an hour.
#[derive(Debug)]
pub struct UdpEcho {
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl UdpEcho {
    /// How many datagrams have arrived.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Node {
    /// Starts a UDP echo on `port` of every address of this node, v4 and v6. It answers when this returns.
    pub fn udp_echo(&self, port: u16) -> Result<UdpEcho> {
        let addresses = self.addresses()?;
        let sockets =
            self.within(|| addresses.iter().map(|address| bind(*address, port)).collect::<Result<Vec<_>>>())??;
        let mut echo = UdpEcho { stop: Arc::default(), received: Arc::default(), threads: Vec::new() };
        for socket in sockets {
            let (stop, received) = (echo.stop.clone(), echo.received.clone());
            echo.threads.push(thread::spawn(move || serve(&socket, &stop, &received)));
        }
        Ok(echo)
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn bind(address: IpAddr, port: u16) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((address, port)).with_context(|| format!("cannot bind UDP {address} port {port}"))?;
    socket.set_read_timeout(Some(TICK))?;
    Ok(socket)
}

fn serve(socket: &UdpSocket, stop: &AtomicBool, received: &AtomicU64) {
    let end = Deadline::after(LIFE);
    let mut datagram = [0; 2048];
    while !stop.load(Ordering::Relaxed) && !end.expired() {
        let answered = socket.recv_from(&mut datagram).and_then(|(length, peer)| {
            received.fetch_add(1, Ordering::Relaxed);
            socket.send_to(&datagram[..length], peer)
        });
        match answered {
            Ok(_) => {}
            Err(error) if is_passing(&error) => {}
            Err(error) => panic!("the UDP echo failed: {error}"),
        }
    }
}

/// Timeouts, and ICMP errors about earlier answers: both leave the socket usable.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, HostUnreachable, NetworkUnreachable, PermissionDenied, TimedOut, WouldBlock,
    };
    matches!(
        error.kind(),
        WouldBlock | TimedOut | ConnectionRefused | HostUnreachable | NetworkUnreachable | PermissionDenied
    )
}
