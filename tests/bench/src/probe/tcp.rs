//! A TCP connection from its first packet to its last: connect, a request, a response, close.

use super::{Cost, Path};
use crate::spread::Spread;
use crate::world::{PORT, World};
use anyhow::{Context, Result, ensure};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of the request, and of the response.
const BYTES: usize = 64;
/// Connections at the beginning of a slice that warm the caches up again.
const WARM_UP: usize = 16;
/// After so long something is lost.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn connections(
    paths: &[Path<'_>],
    random: &mut fastrand::Rng,
    spread: Spread,
    slice: Duration,
) -> Result<Vec<Cost>> {
    super::slices(paths, slice, 1, WARM_UP, |Path { world, client }| {
        // Sockets that the thread opens are the client's.
        client.netns.join()?;
        let to = spread.inside(random);
        let begun = Instant::now();
        connection(world, to).with_context(|| format!("a connection to {to}"))?;
        Ok(begun.elapsed())
    })
}

/// One connection. The client closes first, as most do; its end waits out its time, the server's is gone.
fn connection(world: &World, to: Ipv4Addr) -> Result<()> {
    let begun = Instant::now();
    let mut bytes = [0; BYTES];
    let mut client = TcpStream::connect((to, PORT)).context("connect")?;
    let mut server = retry(begun, || world.listener.accept()).context("accept")?.0;
    server.set_nonblocking(true)?;
    client.set_nonblocking(true)?;
    client.write_all(&bytes).context("request")?;
    ensure!(retry(begun, || server.read(&mut bytes)).context("request")? == BYTES, "a request in pieces");
    server.write_all(&bytes).context("response")?;
    ensure!(retry(begun, || client.read(&mut bytes)).context("response")? == BYTES, "a response in pieces");
    ensure!(server.local_addr()? == SocketAddrV4::new(to, PORT).into(), "a connection to somebody else");
    drop(client);
    ensure!(retry(begun, || server.read(&mut bytes)).context("close")? == 0, "more than a request");
    Ok(())
}

/// Tries again while a part of the way is left to the kernel's own thread on this CPU.
fn retry<T>(begun: Instant, mut call: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::WouldBlock && begun.elapsed() < PATIENCE => thread::yield_now(),
            other => return other,
        }
    }
}
