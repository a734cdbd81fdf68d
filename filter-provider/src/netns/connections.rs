//! The host's table of connections: what is in it of a sandbox that has ended.
//!
//! An open connection stays there for days when both its ends are gone without a word. Sandboxes that come and go would fill the table,
//! and packets for one would be passed on to the next with its address. Spoken to by `NETLINK_NETFILTER`, subsystem `ctnetlink`.

use filter_dataplane::Namespace;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// Requests, and what `nfnetlink` adds to the number: the subsystem.
const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_DUMP`.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
/// Length of `nlmsghdr` and of `nfgenmsg`.
const HEADER: usize = 16;
const FAMILY: usize = 4;
/// Attributes of a connection.
const TUPLE_ORIG: u16 = 1;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;
/// Mask of an attribute's type without its flags.
const TYPE: u16 = 0x3fff;

/// Forgets all connections that a source has opened.
///
/// # Errors
/// When the kernel has no `ctnetlink`, or what it refused.
pub(super) fn forget(host: &Namespace, source: IpAddr) -> Result<(), Errno> {
    let forgotten = host.enter(|| {
        let socket = connect()?;
        let found = list(&socket, source)?;
        found.iter().try_for_each(|connection| delete(&socket, source, connection))
    });
    forgotten.unwrap_or(Err(Errno::EPERM))
}

pub(super) fn connect() -> Result<OwnedFd, Errno> {
    let protocol = SockProtocol::NetlinkNetFilter;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(10))?;
    Ok(socket)
}

/// What tells each connection of a source from others: its first tuple and its zone, as the kernel has written them.
fn list(socket: &OwnedFd, source: IpAddr) -> Result<Vec<Vec<u8>>, Errno> {
    let sources = [attribute(1, &1u32.to_ne_bytes()), attribute(2, &[0; 4])].concat();
    // Kernels before 5.9 take no filter and list all. For IPv6 the kernel lists those that do not match (seen on 6.18): it is not asked to.
    let body = match source {
        IpAddr::V4(_) => [tuple(source), attribute(FILTER | NESTED, &sources)].concat(),
        IpAddr::V6(_) => Vec::new(),
    };
    ask(socket, GET, REQUEST | DUMP, source, &body)?;
    let mut found = Vec::new();
    loop {
        for (kind, message) in messages(&receive(socket)?) {
            match kind {
                DONE => return Ok(found),
                ERROR => return Err(refusal(message)),
                _ => found.extend(connection(message, source)),
            }
        }
    }
}

/// One that has ended by itself meanwhile is what was wanted.
fn delete(socket: &OwnedFd, source: IpAddr, connection: &[u8]) -> Result<(), Errno> {
    ask(socket, DELETE, REQUEST | ACK, source, connection)?;
    for (kind, message) in messages(&receive(socket)?) {
        if kind == ERROR {
            return match refusal(message) {
                Errno::UnknownErrno | Errno::ENOENT => Ok(()),
                errno => Err(errno),
            };
        }
    }
    Ok(())
}

fn ask(socket: &OwnedFd, kind: u16, flags: u16, source: IpAddr, body: &[u8]) -> Result<(), Errno> {
    let family = if source.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let length = u32::try_from(HEADER + FAMILY + body.len()).map_err(|_| Errno::EMSGSIZE)?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
    message.extend([0; 8]);
    message.extend([family as u8, 0, 0, 0]);
    message.extend(body);
    send(socket.as_raw_fd(), &message, MsgFlags::empty()).map(drop)
}

pub(super) fn receive(socket: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 64 << 10];
    let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
    buffer.truncate(length);
    Ok(buffer)
}

/// Types and bodies of the messages of one datagram.
pub(super) fn messages(mut datagram: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some((header, _)) = datagram.split_at_checked(HEADER) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(body) = datagram.get(HEADER..length) else { break };
        found.push((u16::from_ne_bytes([header[4], header[5]]), body));
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// Types, whole bytes and values of attributes.
fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8], &[u8])> {
    let mut found = Vec::new();
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let Some(value) = bytes.get(4..length) else { break };
        let padded = length.next_multiple_of(4).min(bytes.len());
        found.push((u16::from_ne_bytes([bytes[2], bytes[3]]) & TYPE, &bytes[..padded], value));
        bytes = &bytes[padded..];
    }
    found
}

fn connection(message: &[u8], source: IpAddr) -> Option<Vec<u8>> {
    let all = attributes(message.get(FAMILY..)?);
    let tuple = all.iter().find(|(kind, ..)| *kind == TUPLE_ORIG)?.2;
    let addresses = attributes(tuple).into_iter().find(|(kind, ..)| *kind == 1)?.2;
    let (own, octets) = written(source);
    let is_own = |(kind, _, value): &(u16, &[u8], &[u8])| *kind == own && *value == octets;
    attributes(addresses).iter().find(|found| is_own(found))?;
    let kept = all.iter().filter(|(kind, ..)| [TUPLE_ORIG, ZONE].contains(kind));
    Some(kept.flat_map(|(_, whole, _)| whole.to_vec()).collect())
}

/// A tuple of which only the source is told.
fn tuple(source: IpAddr) -> Vec<u8> {
    let (kind, octets) = written(source);
    attribute(TUPLE_ORIG | NESTED, &attribute(1 | NESTED, &attribute(kind, &octets)))
}

/// Type and value of a source address: `CTA_IP_V4_SRC` or `CTA_IP_V6_SRC`.
fn written(source: IpAddr) -> (u16, Vec<u8>) {
    match source {
        IpAddr::V4(address) => (1, address.octets().to_vec()),
        IpAddr::V6(address) => (3, address.octets().to_vec()),
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    // None is longer than a few addresses.
    let length = 4 + value.len() as u16;
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The error in a message; [`Errno::UnknownErrno`], which is 0, when all went well.
fn refusal(message: &[u8]) -> Errno {
    let code = message.first_chunk().map_or(libc_einval(), |bytes| i32::from_ne_bytes(*bytes));
    Errno::from_raw(-code)
}

fn libc_einval() -> i32 {
    -(Errno::EINVAL as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_no_connection() {
        let source = IpAddr::from([192, 0, 2, 1]);
        let whole = [vec![2, 0, 0, 0], tuple(source), attribute(ZONE, &[0, 1])].concat();
        assert_eq!(connection(&whole, source), Some([tuple(source), attribute(ZONE, &[0, 1])].concat()));
        assert_eq!(connection(&whole, IpAddr::from([192, 0, 2, 2])), None);
        for length in 0..4 + tuple(source).len() {
            assert_eq!(connection(&whole[..length], source), None, "{length}");
        }
        let message = [[20, 0, 0, 0, 0, 1, 0, 0].as_slice(), &[0; 12]].concat();
        for length in 0..message.len() {
            assert!(messages(&message[..length]).is_empty(), "{length}");
        }
        assert_eq!(messages(&message), [(256, &[0; 4][..])]);
    }
}
