//! Seeing what really is on a wire.

use std::{
    net::IpAddr,
    os::fd::{AsRawFd, OwnedFd},
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::socket::{
        AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt::RcvBufForce,
    },
};

use crate::node::Node;

/// Room for what arrives between two looks, in bytes of kernel memory: about ten thousand small packets.
const BUFFER: usize = 16 << 20;

/// The part of a frame that is kept: all headers that a test looks at.
const SNAPSHOT: usize = 256;

/// A packet socket on one device. It sees each frame that the device sends or receives, from when it was made.
///
/// Received frames are seen before tc ingress programs judge them, sent ones after tc egress programs did: to show that a
/// packet was *not* let through, listen behind the filter, for instance on `up0`.
#[derive(Debug)]
pub struct Sniffer {
    socket: OwnedFd,
    ifindex: usize,
    frames: Vec<Vec<u8>>,
}

impl Sniffer {
    /// The frames so far that satisfy `predicate`: their first 256 bytes, Ethernet header included. A few thousand frames
    /// are kept between two looks; what comes on top of that is lost.
    pub fn frames(&mut self, predicate: impl Fn(&[u8]) -> bool) -> Result<Vec<&[u8]>> {
        self.drain()?;
        Ok(self.frames.iter().map(Vec::as_slice).filter(|frame| predicate(frame)).collect())
    }

    /// Those of [`Sniffer::frames`] that carry an untagged IP packet to or from one of these addresses.
    pub fn frames_with(&mut self, ends: &[IpAddr]) -> Result<Vec<&[u8]>> {
        self.frames(|frame| addresses(frame).is_some_and(|(from, to)| ends.contains(&from) || ends.contains(&to)))
    }

    /// How many of [`Sniffer::frames`] there are.
    pub fn count(&mut self, predicate: impl Fn(&[u8]) -> bool) -> Result<usize> {
        Ok(self.frames(predicate)?.len())
    }

    /// How many untagged IP packets so far were sent to `destination`.
    pub fn count_to(&mut self, destination: IpAddr) -> Result<usize> {
        self.count(|frame| addresses(frame).is_some_and(|(_, to)| to == destination))
    }

    /// How many untagged IP packets so far came from `source`.
    pub fn count_from(&mut self, source: IpAddr) -> Result<usize> {
        self.count(|frame| addresses(frame).is_some_and(|(from, _)| from == source))
    }

    fn drain(&mut self) -> Result<()> {
        let mut frame = [0; SNAPSHOT];
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut frame) {
                Ok((length, Some(device))) if device.ifindex() == self.ifindex => {
                    self.frames.push(frame[..length].to_vec());
                }
                Ok(_) | Err(Errno::EINTR | Errno::ENETDOWN) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error).context("cannot read the packet socket"),
            }
        }
    }
}

impl Node {
    /// Starts to watch what `device` sends and receives.
    pub fn sniff(&self, device: &str) -> Result<Sniffer> {
        let (socket, ifindex) = self.within(|| {
            let ifindex = if_nametoindex(device).with_context(|| format!("no device {device} in {}", self.name()))?;
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
                .context("cannot open a packet socket")?;
            setsockopt(&socket, RcvBufForce, &BUFFER).context("cannot size the packet socket's buffer")?;
            anyhow::Ok((socket, ifindex))
        })??;
        Ok(Sniffer { socket, ifindex: usize::try_from(ifindex)?, frames: Vec::new() })
    }
}

/// Source and destination of an untagged IPv4 or IPv6 frame (RFC 791 and RFC 8200 header layout).
fn addresses(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let v4 = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?));
    let v6 = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(frame.get(at..at + 16)?).ok()?));
    match frame.get(12..14)? {
        [0x08, 0x00] => Some((v4(26)?, v4(30)?)),
        [0x86, 0xdd] => Some((v6(22)?, v6(38)?)),
        _ => None,
    }
}
