//! Listeners that connections are handed to: sockets in the namespace of the sandbox's device, which take what was for others
//! (`IP_TRANSPARENT`), and the routes that keep such packets on this host.

use crate::pins::Pins;
use crate::shared::pinned;
use crate::{Dataplane, Error, Place};
use aya::maps::{Map, MapData, MapError, SockMap};
use filter_core::abi;
use filter_policy::NetnsRef;
use nix::sys::socket::sockopt::{IpTransparent, Ipv6V6Only, Mark, SetStruct};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, bind, listen, setsockopt, socket,
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

/// Connections that wait to be taken, at the most; what comes then is dropped, and tried again.
const BACKLOG: i32 = 1_024;

// By its index, which no other device takes meanwhile (Linux 5.1).
nix::setsockopt_impl!(BindToDevice, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, libc::c_int, SetStruct<libc::c_int>);

/// A socket talks by one device only.
#[derive(Clone, Copy)]
struct BindToDevice;

impl Dataplane {
    /// Opens the listeners of a sandbox, for IPv4 and IPv6, whose packets have a mark, and hands its connections to them until they are closed.
    /// They are bound to what packets come in by: the sandbox's device, or its bridge. Packets with `capture_mark` stay in that namespace from
    /// now on.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn listen(
        &mut self,
        place: Place,
        netns: Option<&NetnsRef>,
        bridge: Option<u32>,
        marks: Marks,
    ) -> Result<[TcpListener; 2], Error> {
        let namespace = self.keep_marked(place.slot, netns, marks)?;
        if let Some(bridge) = bridge {
            self.serve_at_bridge(place.slot, netns, bridge)?;
        }
        let by = bridge.unwrap_or(place.ifindex);
        let failed = |source: nix::Error| Error::Socket { action: "open a listener", source: source.into() };
        let open = || -> nix::Result<[TcpListener; 2]> {
            Ok([
                listener(
                    AddressFamily::Inet,
                    &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)),
                    by,
                    marks.own,
                )?,
                listener(
                    AddressFamily::Inet6,
                    &SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0)),
                    by,
                    marks.own,
                )?,
            ])
        };
        let listeners = namespace.enter(open)?.map_err(failed)?;
        let mut map = map(&self.pins)?;
        for (listener, is_v4) in listeners.iter().zip([true, false]) {
            map.set(abi::listener(place.slot, is_v4), listener, 0).map_err(Error::map("LISTENERS"))?;
        }
        Ok(listeners)
    }
}

impl Dataplane {
    /// Ends what [`Self::listen`] has made for a slot, but for the listeners themselves.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn unlisten(&mut self, slot: u32) -> Result<(), Error> {
        self.leave_bridge(slot)?;
        self.leave_routes(slot)
    }
}

/// Marks of packets.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    /// The bits that are the filter's.
    pub mask: u32,
    /// What they hold in packets of the filter's own sockets.
    pub own: u32,
    /// What they hold in packets that are handed over.
    pub capture: u32,
}

/// Hands nothing of a slot over any more.
pub(crate) fn clear(pins: &Pins, slot: u32) -> Result<(), Error> {
    let mut map = map(pins)?;
    for is_v4 in [true, false] {
        match map.clear_index(&abi::listener(slot, is_v4)) {
            // The kernel's word for a place that is empty.
            Err(MapError::SyscallError(refusal)) if refusal.io_error.raw_os_error() == Some(libc::EINVAL) => {}
            other => other.map_err(Error::map("LISTENERS"))?,
        }
    }
    Ok(())
}

fn map(pins: &Pins) -> Result<SockMap<MapData>, Error> {
    pinned(pins, "LISTENERS", Map::SockMap)
}

fn listener(family: AddressFamily, address: &dyn SockaddrLike, ifindex: u32, mark: u32) -> nix::Result<TcpListener> {
    let socket: OwnedFd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, IpTransparent, &true)?;
    setsockopt(&socket, BindToDevice, &ifindex.cast_signed())?;
    setsockopt(&socket, Mark, &mark)?;
    if family == AddressFamily::Inet6 {
        setsockopt(&socket, Ipv6V6Only, &true)?;
    }
    bind(socket.as_raw_fd(), address)?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(TcpListener::from(socket))
}
