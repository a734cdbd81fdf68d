//! The sandbox's end of a lane.

use super::lane::Lane;
use super::payload::{LENGTH, Payload, now};
use super::policy::{Kind, STREAMS};
use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use nix::unistd::Pid;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// Kinds of the datagrams that go out by one call. The last is one that arrives, so that a whole batch can be waited for.
const PATTERN: [Kind; 16] = {
    use Kind::{OnlyA, OnlyB, Shared};
    [
        OnlyA, OnlyB, Shared, Shared, OnlyB, OnlyA, Shared, Shared, OnlyA, OnlyB, OnlyA, Shared, OnlyB, Shared, OnlyA,
        Shared,
    ]
};

/// Datagrams of a batch: a call for each family.
pub(crate) const BATCH: u64 = 2 * PATTERN.len() as u64;

/// What a sender has sent, a number for each stream.
pub(crate) type Sent = [u64; STREAMS.len()];

/// A call's worth of datagrams to one family.
struct Half {
    socket: UdpSocket,
    streams: [usize; PATTERN.len()],
    addresses: [Option<SockaddrStorage>; PATTERN.len()],
}

/// Sends until the lane is closed, from one CPU: what one CPU carries stays in its order.
pub(crate) fn run(lane: &Lane, sources: [IpAddr; 2]) -> Result<Sent> {
    Lane::give_way()?;
    let mut cpus = CpuSet::new();
    cpus.set(lane.cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).with_context(|| format!("cannot run on CPU {}", lane.cpu))?;
    let [v4, v6] = sources.map(|source| Half::new(lane, source));
    let halves = [v4?, v6?];
    let mut sent = Sent::default();
    let mut position = 0;
    while lane.has_room(position, BATCH) {
        for half in &halves {
            half.send(&mut sent, &mut position)?;
        }
        lane.sent_to(position);
    }
    Ok(sent)
}

impl Half {
    fn new(lane: &Lane, source: IpAddr) -> Result<Half> {
        let socket = UdpSocket::bind((source, lane.port)).context("cannot bind a sender")?;
        let stream = |kind| STREAMS.iter().position(|s| s.kind == kind && s.destination.is_ipv6() == source.is_ipv6());
        let mut half = Half { socket, streams: [0; PATTERN.len()], addresses: [None; PATTERN.len()] };
        for (at, kind) in PATTERN.into_iter().enumerate() {
            half.streams[at] = stream(kind).context("a kind without a stream")?;
            let to = SocketAddr::new(STREAMS[half.streams[at]].destination, lane.port);
            half.addresses[at] = Some(to.into());
        }
        Ok(half)
    }

    fn send(&self, sent: &mut Sent, position: &mut u64) -> Result<()> {
        let mut bytes = [[0; LENGTH]; PATTERN.len()];
        let at = now()?;
        for (bytes, stream) in bytes.iter_mut().zip(self.streams) {
            Payload { stream, sequence: sent[stream], position: *position, sent: at }.write(bytes);
            sent[stream] += 1;
            *position += 1;
        }
        let slices: [[IoSlice<'_>; 1]; PATTERN.len()] = std::array::from_fn(|at| [IoSlice::new(&bytes[at])]);
        let mut headers = MultiHeaders::preallocate(PATTERN.len(), None);
        let fd = self.socket.as_raw_fd();
        let taken = sendmmsg(fd, &mut headers, &slices, self.addresses, [], MsgFlags::empty()).context("sendmmsg")?;
        let taken = taken.count();
        ensure!(taken == PATTERN.len(), "the kernel took {taken} of {} datagrams", PATTERN.len());
        Ok(())
    }
}
