//! What the daemon and the sidecar say to each other over a pair of stream sockets: messages in JSON behind their lengths, each with the
//! descriptors that belong to it (`SCM_RIGHTS`, `unix(7)`).

use crate::limits::Limits;
use ipnet::IpNet;
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Longest message in bytes: a policy of a million prefixes, and room.
const MAX_MESSAGE: u32 = 64 << 20;
/// Most descriptors that come with one.
const MAX_DESCRIPTORS: usize = 2;

/// From the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Order {
    /// The first one: what holds for all sandboxes.
    Start {
        /// Who resolves names: port 53 of the first that answers is asked.
        resolvers: Vec<IpAddr>,
        /// Where connections to servers come from, in turns; without any, where the kernel has them come from.
        sources: Vec<IpAddr>,
        /// What each may have done.
        limits: Limits,
        /// What a socket may hold at the most whose buffers grow, in bytes (`net.ipv4.tcp_rmem` and `tcp_wmem`).
        grown_bytes: u64,
        /// Whether connections are told once they have ended.
        tells_connections: bool,
    },
    /// What [`Order::Start`] said of these is different from now on; what is open or remembered stays.
    Configure {
        /// Who resolves names.
        resolvers: Vec<IpAddr>,
        /// Where connections to servers come from.
        sources: Vec<IpAddr>,
        /// Whether connections are told once they have ended.
        tells_connections: bool,
    },
    /// Answer, if you can.
    Beat,
    /// A sandbox is there. With this come its listeners, for IPv4 and for IPv6, in this order.
    Begin {
        /// Where it is attached.
        slot: u32,
        /// Its id.
        id: String,
    },
    /// Keep a policy at hand, beside the one in force.
    Prepare {
        /// Whose.
        slot: u32,
        /// The policy.
        policy: Policy,
    },
    /// Judge by what was prepared from now on, and end what it does not allow.
    Commit {
        /// Whose.
        slot: u32,
    },
    /// Forget what was prepared.
    Drop {
        /// Whose.
        slot: u32,
    },
    /// A sandbox is gone: end all that it has.
    End {
        /// Which.
        slot: u32,
    },
}

/// Where a sandbox may go through the sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Its generation.
    pub generation: u32,
    /// The names, as policies write them.
    pub names: Vec<String>,
    /// Hosts that a rule of the policy is about: the sidecar does not apply rules yet, and lets nothing pass one by.
    pub ruled: Vec<String>,
    /// Whether all connections are for a proxy, which the sidecar does not know yet.
    pub is_proxied: bool,
    /// The lists of addresses. They may be left out where no connection that they allow comes to the sidecar.
    pub lists: Option<Lists>,
    /// Protected ranges that the operator has opened: what a name may lead to besides.
    pub opened: Vec<IpNet>,
}

/// Lists of addresses: what is in `allow` is allowed, what else is in `deny` is not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lists {
    /// What is allowed in any case.
    pub allow: Vec<IpNet>,
    /// What else is denied.
    pub deny: Vec<IpNet>,
}

/// To the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Word {
    /// The next order in turn was carried out.
    Done,
    /// It was not.
    Failed {
        /// Why.
        reason: String,
    },
    /// Connections were refused.
    Denied(Denied),
    /// A connection to a server has ended.
    Carried(Carried),
}

/// Connections that were refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Denied {
    /// Whose.
    pub slot: u32,
    /// By which policy.
    pub generation: u32,
    /// The number of the reason.
    pub reason: u8,
    /// How many.
    pub count: u64,
    /// What the one that is told of was; `None` where they are only counted.
    pub told: Option<Told>,
}

/// A refusal that is told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// The port that the connection was for.
    pub port: u16,
    /// The name that was asked for, escaped; empty without one.
    pub name: String,
}

/// A connection to a server that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Carried {
    /// Id of the sandbox.
    pub id: String,
    /// The name that it was for; `None` where it went to where the sandbox had sent it.
    pub name: Option<String>,
    /// The server that was dialled.
    pub server: SocketAddr,
    /// Bytes that the server was sent, as the sandbox said them: without headers of packets.
    pub sent: u64,
    /// Bytes that came from the server.
    pub received: u64,
    /// The policy that let it in.
    pub generation: u32,
    /// When that was, in milliseconds since 1970.
    pub began_ms: u64,
    /// How long it lasted, in milliseconds.
    pub lasted_ms: u64,
    /// Connections that ended before and could not be told.
    pub lost: u64,
}

/// Sends a message.
///
/// # Errors
/// The socket's.
pub fn send(mut socket: &UnixStream, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= MAX_MESSAGE);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "too long a message"))?;
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    // The length goes as one: it is shorter than any socket's buffer.
    sendmsg(socket, &[IoSlice::new(&length.to_ne_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    socket.write_all(&text)
}

/// Takes a message and what comes with it; `None` when the other side is gone.
///
/// # Errors
/// The socket's; or when it is no message.
pub fn receive<T: DeserializeOwned>(mut socket: &UnixStream) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut length = [0; size_of::<u32>()];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let taken = recvmsg(socket, &mut [IoSliceMut::new(&mut length)], &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if taken == 0 {
        return Ok(None);
    }
    socket.read_exact(&mut length[taken..])?;
    let length = u32::from_ne_bytes(length);
    if length > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    let mut text = vec![0; length as usize];
    socket.read_exact(&mut text)?;
    Ok(Some((serde_json::from_slice(&text)?, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::fd::AsFd;
    use std::thread;

    #[test]
    fn orders_arrive_with_their_descriptors() {
        let (one, other) = UnixStream::pair().unwrap();
        let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let begin = Order::Begin { slot: 7, id: "a".to_owned() };
        let names = (0..10_000).map(|at| format!("name{at}.example.com")).collect();
        let prepare = Order::Prepare { slot: 7, policy: Policy { generation: 3, names, ..Policy::default() } };
        let sent = (begin.clone(), prepare.clone());
        let ports = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let sending = thread::spawn(move || {
            let descriptors = listeners.each_ref().map(AsFd::as_fd);
            send(&one, &begin, &descriptors).unwrap();
            send(&one, &prepare, &[]).unwrap();
        });
        let (first, descriptors) = receive::<Order>(&other).unwrap().unwrap();
        let (second, none) = receive::<Order>(&other).unwrap().unwrap();
        sending.join().unwrap();
        assert_eq!((first, second), sent);
        assert!(none.is_empty());
        let arrived: Vec<_> = descriptors.into_iter().map(|fd| TcpListener::from(fd).local_addr().unwrap()).collect();
        assert_eq!(arrived, ports);
        assert!(receive::<Order>(&other).unwrap().is_none(), "the other side is gone");
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for bytes in [&b"\xff\xff\xff\xff"[..], b"\x02\0\0\0{]", b"\x09\0\0\0{\"do\":\"x\"}"] {
            let (mut one, other) = UnixStream::pair().unwrap();
            one.write_all(bytes).unwrap();
            drop(one);
            assert!(receive::<Order>(&other).is_err(), "{bytes:?}");
        }
    }
}
