//! Notices of the kernel that links, addresses, qdiscs or filters have changed, in any namespace that has a number in the daemon's.
//!
//! One socket, in the daemon's namespace, hears them all (`NETLINK_LISTEN_ALL_NSID`, `CAP_NET_BROADCAST`): a socket inside
//! another namespace would keep that alive after everybody else has left it.

use crate::Error;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::sockopt::RcvBufForce;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, NetlinkAddr, recvmsg, setsockopt};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::collections::BTreeSet;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Room for notices that come faster than they are read, in bytes.
const BUFFER: usize = 8 << 20;

/// What has changed since somebody last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Devices, each behind the number of its namespace; `None` is the daemon's.
    pub devices: BTreeSet<(Option<i32>, u32)>,
    /// Devices whose qdiscs or filters have changed.
    pub filters: BTreeSet<(Option<i32>, u32)>,
    /// Devices that are gone from their namespace; one that has come since may have the index.
    pub removed: BTreeSet<(Option<i32>, u32)>,
    /// Routing rules have changed somewhere.
    pub rules: bool,
    /// Numbers of namespaces that are gone.
    pub vanished: BTreeSet<i32>,
    /// Notices were lost: anything may have changed.
    pub lost: bool,
}

/// The kernel's notices. A change that somebody made before a question is in the answer.
pub struct Notices(Socket);

impl Notices {
    /// Subscribes.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> Result<Notices, Error> {
        // RTNLGRP_LINK (1), RTNLGRP_TC (4), RTNLGRP_IPV4_IFADDR (5), RTNLGRP_IPV4_RULE (8), RTNLGRP_IPV6_IFADDR (9), RTNLGRP_IPV6_RULE (19),
        // RTNLGRP_NSID (28).
        const GROUPS: u32 = 1 << 0 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 8 | 1 << 18 | 1 << 27;
        let subscribe = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.set_non_blocking(true)?;
            setsockopt(&socket.as_fd(), RcvBufForce, &BUFFER)?;
            socket.set_listen_all_namespaces(true)?;
            socket.bind(&SocketAddr::new(0, GROUPS))?;
            Ok(Notices(socket))
        };
        subscribe().map_err(failed("subscribe to notices"))
    }

    /// What tells when there is something to ask for.
    ///
    /// # Errors
    /// When the descriptor cannot be watched. Must be called inside a tokio runtime.
    pub fn watcher(&self) -> Result<Watcher, Error> {
        let fd = self.0.as_fd().try_clone_to_owned().map_err(failed("watch notices"))?;
        // SAFETY: the descriptor is never replaced, and lives as long as the registration.
        let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Watcher(watched.map_err(|error| failed("watch notices")(error.into()))?))
    }

    /// All that has changed since the last call.
    ///
    /// # Errors
    /// When the socket cannot be read.
    pub fn drain(&self) -> Result<Changes, Error> {
        let mut changes = Changes::default();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let mut control = cmsg_space!(i32);
            let mut into = [IoSliceMut::new(&mut buffer)];
            let fd = self.0.as_raw_fd();
            let (length, number) = match recvmsg::<NetlinkAddr>(fd, &mut into, Some(&mut control), MsgFlags::empty()) {
                Ok(message) => {
                    changes.lost |= message.flags.contains(MsgFlags::MSG_TRUNC);
                    let controls = message.cmsgs().map_err(|errno| failed("read notices")(errno.into()))?;
                    (message.bytes, controls.into_iter().find_map(|control| number(&control)))
                }
                Err(Errno::EAGAIN) => return Ok(changes),
                Err(Errno::EINTR) => continue,
                Err(Errno::ENOBUFS) => {
                    changes.lost = true;
                    continue;
                }
                Err(errno) => return Err(failed("read notices")(errno.into())),
            };
            changes.read(number, &buffer[..length]);
        }
    }
}

/// Waits for notices.
pub struct Watcher(AsyncFd<OwnedFd>);

impl Watcher {
    /// Waits until there is something that [`Notices::drain`] has not told of.
    ///
    /// # Errors
    /// When the descriptor cannot be polled.
    pub async fn heard(&mut self) -> Result<(), Error> {
        let mut ready = self.0.readable_mut().await.map_err(failed("watch notices"))?;
        ready.clear_ready();
        Ok(())
    }
}

impl Changes {
    /// Takes in what has changed since.
    pub fn add(&mut self, later: Changes) {
        self.devices.extend(later.devices);
        self.filters.extend(later.filters);
        self.removed.extend(later.removed);
        self.vanished.extend(later.vanished);
        self.rules |= later.rules;
        self.lost |= later.lost;
    }

    /// Reads the messages of one datagram. Of each only the kind and the index count: what is true now is for the caller to look up.
    fn read(&mut self, number: Option<i32>, mut bytes: &[u8]) {
        const HEADER: usize = 16;
        const INDEX: usize = HEADER + 4;
        /// `struct rtgenmsg`, aligned, and the header of the first attribute.
        const NSID: usize = HEADER + 4 + 4;
        const LINK_OR_ADDRESS: [u16; 4] = [libc::RTM_NEWLINK, libc::RTM_DELLINK, libc::RTM_NEWADDR, libc::RTM_DELADDR];
        const TC: [u16; 4] = [libc::RTM_NEWQDISC, libc::RTM_DELQDISC, libc::RTM_NEWTFILTER, libc::RTM_DELTFILTER];
        let word = |bytes: &[u8], at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let half = |bytes: &[u8], at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        while let (Some(length), Some(kind)) = (word(bytes, 0), half(bytes, 4)) {
            let length = (length as usize).clamp(HEADER, bytes.len().max(HEADER));
            let about = match kind {
                _ if LINK_OR_ADDRESS.contains(&kind) => Some(&mut self.devices),
                _ if TC.contains(&kind) => Some(&mut self.filters),
                _ => None,
            };
            // A port that leaves its bridge is told of in the same words, but for the family.
            let is_bridges = bytes.get(HEADER).is_some_and(|family| i32::from(*family) == libc::AF_BRIDGE);
            if let (libc::RTM_DELLINK, false, Some(index)) = (kind, is_bridges, word(bytes, INDEX)) {
                self.removed.insert((number, index));
            }
            self.rules |= [libc::RTM_NEWRULE, libc::RTM_DELRULE].contains(&kind);
            if let (Some(about), Some(index)) = (about, word(bytes, INDEX)) {
                about.insert((number, index));
            } else if kind == libc::RTM_DELNSID
                && let Some(gone) = word(bytes, NSID)
            {
                self.vanished.insert(gone as i32);
            }
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// The number of the namespace that a notice is from.
fn number(control: &ControlMessageOwned) -> Option<i32> {
    let ControlMessageOwned::Unknown(unknown) = control else { return None };
    let header = unknown.cmsg_header;
    let told = header.cmsg_level == libc::SOL_NETLINK && header.cmsg_type == libc::NETLINK_LISTEN_ALL_NSID;
    told.then(|| Some(i32::from_ne_bytes(unknown.data_bytes.get(..4)?.try_into().ok()?)))?
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::Netlink { action, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_gone() {
        let mut changes = Changes::default();
        changes.read(None, &message(libc::RTM_DELLINK, 7));
        let mut left = message(libc::RTM_DELLINK, 8);
        left[16] = libc::AF_BRIDGE as u8;
        changes.read(None, &left);
        changes.read(None, &message(libc::RTM_NEWLINK, 9));
        assert_eq!(changes.removed, BTreeSet::from([(None, 7)]));
        assert_eq!(changes.devices, BTreeSet::from([(None, 7), (None, 8), (None, 9)]));
    }

    fn message(kind: u16, index: u32) -> Vec<u8> {
        let mut bytes = vec![0; 32];
        bytes[..4].copy_from_slice(&32u32.to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[20..24].copy_from_slice(&index.to_ne_bytes());
        bytes
    }

    #[test]
    fn each_message_of_a_datagram_counts() {
        let bytes =
            [(libc::RTM_NEWLINK, 7), (libc::RTM_NEWROUTE, 8), (libc::RTM_DELADDR, 9), (libc::RTM_DELTFILTER, 9)];
        let bytes: Vec<u8> = bytes.iter().flat_map(|(kind, index)| message(*kind, *index)).collect();
        let mut changes = Changes::default();
        changes.read(Some(3), &bytes);
        assert_eq!(changes.devices, BTreeSet::from([(Some(3), 7), (Some(3), 9)]));
        assert_eq!(changes.filters, BTreeSet::from([(Some(3), 9)]));
        for length in 0..bytes.len() {
            Changes::default().read(None, &bytes[..length]);
        }
    }
}
