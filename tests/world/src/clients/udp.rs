//! Datagrams from a connected socket.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::node::Node;

/// How long a probe waits for its echo.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of one datagram.
#[derive(Debug)]
pub enum UdpProbe {
    /// It came back unchanged.
    Echoed,
    /// An ICMP error came back; `HostUnreachable` (v4) and `PermissionDenied` (v6) are administratively prohibited,
    /// `ConnectionRefused` is a closed port.
    Rejected(io::Error),
    /// Nothing came back in time.
    Silent,
}

impl UdpProbe {
    /// Whether the datagram came back.
    pub fn is_echoed(&self) -> bool {
        matches!(self, Self::Echoed)
    }
}

impl Node {
    /// Sends one datagram to an echo at `address` and `port`, and waits one second for its return. An error means that the
    /// socket could not be made or used.
    pub fn udp_probe(&self, address: impl Into<IpAddr>, port: u16) -> Result<UdpProbe> {
        self.udp_probe_within(PATIENCE, address, port)
    }

    /// [`Node::udp_probe`] that waits for `patience`.
    pub fn udp_probe_within(&self, patience: Duration, address: impl Into<IpAddr>, port: u16) -> Result<UdpProbe> {
        let address = address.into();
        self.within(|| {
            let socket = connected(address, port, patience)?;
            let sent = b"probe";
            let mut received = [0; 64];
            match socket.send(sent).and_then(|_| socket.recv(&mut received)) {
                Ok(length) if &received[..length] == sent => Ok(UdpProbe::Echoed),
                Ok(length) => anyhow::bail!("{address} answered with {:?}", &received[..length]),
                Err(error) if is_rejection(&error) => Ok(UdpProbe::Rejected(error)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    Ok(UdpProbe::Silent)
                }
                Err(error) => Err(error).with_context(|| format!("cannot probe UDP {address} port {port}")),
            }
        })?
    }
}

/// A UDP socket of the calling thread's namespace, connected, so that ICMP errors reach it.
pub(crate) fn connected(address: IpAddr, port: u16, patience: Duration) -> Result<UdpSocket> {
    let wildcard: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let connect = || {
        let socket = UdpSocket::bind((wildcard, 0))?;
        socket.connect((address, port))?;
        socket.set_read_timeout(Some(patience))?;
        Ok::<_, io::Error>(socket)
    };
    connect().with_context(|| format!("cannot connect UDP to {address} port {port}"))
}

/// Whether an error of a connected socket stands for an ICMP error (or, in cgroup mode, a refusal by the kernel).
pub(crate) fn is_rejection(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, PermissionDenied};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | PermissionDenied)
}
