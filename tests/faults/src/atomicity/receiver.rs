//! The internet's end of a lane.

use super::lane::Lane;
use super::payload::{LENGTH, Payload};
use super::policy::{Kind, STREAMS};
use super::sender::Sent;
use anyhow::{Context, Result, bail};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimestampns};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, recvmmsg, setsockopt};
use nix::sys::time::TimeSpec;
use std::io::IoSliceMut;
use std::net::{Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Bytes of a receiver's buffer, as the kernel counts them: some thousands of datagrams.
const BUFFER: usize = 8 << 20;
/// Datagrams taken at once.
const BATCH: usize = 64;
/// How often a receiver looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// Faults that are told one by one.
const TOLD: usize = 10;

/// A datagram that only one of the policies allows, at the interface behind the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Whose its destination is.
    pub kind: Kind,
    /// A moment before it was sent, nanoseconds of the monotonic clock.
    pub sent: u64,
    /// When the interface behind the filter received it.
    pub arrived: u64,
}

/// What came through a lane.
#[derive(Default)]
pub(crate) struct Received {
    /// A number for each stream.
    pub(crate) streams: Sent,
    /// What only one policy allows.
    pub(crate) arrivals: Vec<Arrival>,
    /// What is missing, twice there or out of order of what both allow.
    pub(crate) wrong: Vec<String>,
    next: Sent,
}

/// A socket for the lane's receiver, which stamps what it receives when the interface does.
pub(crate) fn socket(port: u16) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).context("cannot bind a receiver")?;
    setsockopt(&socket, RcvBufForce, &BUFFER)?;
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket)
}

/// Receives until the lane is ended. `ahead`: of the monotonic clock, in nanoseconds.
pub(crate) fn run(lane: &Lane, socket: &UdpSocket, ahead: u64) -> Result<Received> {
    let mut received = Received::default();
    let mut bytes = [[0; LENGTH]; BATCH];
    while !lane.is_ended() {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = bytes.iter_mut().map(|bytes| [IoSliceMut::new(bytes)]).collect();
        // The kernel cuts the room for control messages to what it wrote there: each call needs new headers.
        let mut headers = MultiHeaders::<()>::preallocate(BATCH, Some(cmsg_space!(TimeSpec)));
        let fd = socket.as_raw_fd();
        let messages = match recvmmsg(fd, &mut headers, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None) {
            Ok(messages) => messages,
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(error) => return Err(error).context("recvmmsg"),
        };
        let mut behind = None;
        for message in messages {
            let payload = message.iovs().next().and_then(Payload::read).context("a datagram of somebody else")?;
            let stamp = message.cmsgs()?.find_map(|control| match control {
                ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
                _ => None,
            });
            let Some(stamp) = stamp else { bail!("a datagram without a timestamp") };
            let arrived = u64::try_from(Duration::from(stamp).as_nanos())?.saturating_sub(ahead);
            if !received.take(payload, arrived) {
                lane.gap();
            }
            behind = Some(payload.position + 1);
        }
        if let Some(position) = behind {
            lane.delivered_to(position);
        }
    }
    Ok(received)
}

impl Received {
    /// Takes in a datagram; `false` when it is not the one that was due.
    fn take(&mut self, payload: Payload, arrived: u64) -> bool {
        let Payload { stream, sequence, sent, .. } = payload;
        self.streams[stream] += 1;
        let Kind::Shared = STREAMS[stream].kind else {
            self.arrivals.push(Arrival { kind: STREAMS[stream].kind, sent, arrived });
            return true;
        };
        let due = std::mem::replace(&mut self.next[stream], sequence + 1);
        if sequence != due && self.wrong.len() < TOLD {
            let to = STREAMS[stream].destination;
            self.wrong.push(format!("to {to}, which both policies allow: number {due} was due, {sequence} came"));
        }
        sequence == due
    }
}
