//! Datagrams of 18 bytes, the smallest frame, 64 a call.

use super::{Cost, Path};
use crate::spread::Spread;
use crate::world::{Client, PORT};
use anyhow::{Context, Result, ensure};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

const BATCH: usize = 64;
const PAYLOAD: usize = 18;
/// Batches at the beginning of a slice that warm the caches up again: with most of a list of a thousand.
const WARM_UP: usize = 12;
/// After so long a datagram is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// When a batch's calls began and ended.
struct Times {
    begun: Instant,
    sent: Instant,
    received: Instant,
}

pub(super) fn delivered(
    paths: &[Path<'_>],
    random: &mut fastrand::Rng,
    spread: Spread,
    slice: Duration,
) -> Result<Vec<Cost>> {
    let batch = |path: Path<'_>, to: &_| exchange(path, to).map(|times| times.received - times.begun);
    batches(paths, slice, || spread.inside(random), batch)
}

pub(super) fn sent(
    paths: &[Path<'_>],
    random: &mut fastrand::Rng,
    spread: Spread,
    slice: Duration,
) -> Result<Vec<Cost>> {
    let batch = |path: Path<'_>, to: &_| exchange(path, to).map(|times| times.sent - times.begun);
    batches(paths, slice, || spread.inside(random), batch)
}

pub(super) fn denied(
    paths: &[Path<'_>],
    random: &mut fastrand::Rng,
    spread: Spread,
    slice: Duration,
) -> Result<Vec<Cost>> {
    let batch = |path: Path<'_>, to: &_| {
        let mut headers = MultiHeaders::preallocate(BATCH, None);
        let begun = Instant::now();
        Ok(send(path.client, &mut headers, to)? - begun)
    };
    let costs = batches(paths, slice, || spread.outside(random), batch)?;
    let arrived = |path: &Path<'_>| path.world.receiver.recv(&mut [0; PAYLOAD]).is_ok();
    ensure!(!paths.iter().any(arrived), "a datagram arrived that the list denies");
    Ok(costs)
}

/// What a datagram of the batches of a slice costs.
fn batches(
    paths: &[Path<'_>],
    slice: Duration,
    mut destination: impl FnMut() -> Ipv4Addr,
    mut batch: impl FnMut(Path<'_>, &[Option<SockaddrIn>; BATCH]) -> Result<Duration>,
) -> Result<Vec<Cost>> {
    super::slices(paths, slice, BATCH, WARM_UP, |path| {
        batch(path, &std::array::from_fn(|_| Some(SocketAddrV4::new(destination(), PORT).into())))
    })
}

/// Sends a batch and receives it.
fn exchange(Path { world, client }: Path<'_>, addresses: &[Option<SockaddrIn>; BATCH]) -> Result<Times> {
    let mut bytes = [[0; PAYLOAD]; BATCH];
    let mut slices: Vec<[IoSliceMut<'_>; 1]> = bytes.iter_mut().map(|bytes| [IoSliceMut::new(bytes)]).collect();
    let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
    let mut sending = MultiHeaders::preallocate(BATCH, None);
    let begun = Instant::now();
    let sent = send(client, &mut sending, addresses)?;
    let fd = world.receiver.as_raw_fd();
    let mut arrived = match recvmmsg(fd, &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
        Ok(messages) => messages.count(),
        Err(nix::errno::Errno::EAGAIN) => 0,
        Err(error) => return Err(error).context("recvmmsg"),
    };
    // The kernel may have left a part of the way to a thread of its own on this CPU.
    while arrived < BATCH {
        match world.receiver.recv(&mut [0; PAYLOAD]) {
            Ok(_) => arrived += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => return Err(error).context("recv"),
        }
        ensure!(begun.elapsed() < PATIENCE, "{} of {BATCH} datagrams are lost", BATCH - arrived);
    }
    Ok(Times { begun, sent, received: Instant::now() })
}

/// Sends a batch; when the call returned.
fn send(
    client: &Client,
    headers: &mut MultiHeaders<SockaddrIn>,
    addresses: &[Option<SockaddrIn>; BATCH],
) -> Result<Instant> {
    let payload = [0; PAYLOAD];
    let slices = [[IoSlice::new(&payload)]; BATCH];
    let fd = client.sender.as_raw_fd();
    let taken = sendmmsg(fd, headers, &slices, addresses, [], MsgFlags::empty()).context("sendmmsg")?.count();
    ensure!(taken == BATCH, "the kernel took {taken} of {BATCH} datagrams");
    Ok(Instant::now())
}
