//! Ends sockets of a cgroup whose connections a policy does not allow any more (`SOCK_DESTROY`, kernel 4.5 and 4.8 for UDP): else they would only stall,
//! for their packets are dropped.

use crate::{Error, Namespace};
use filter_policy::NetnsRef;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags};
use netlink_packet_sock_diag::{SockDiagDestroy, SockDiagMessage};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// `INET_DIAG_CGROUP_ID` (kernel 5.9).
const CGROUP_ID: u16 = 21;
/// Most that the kernel says at once.
const MOST: usize = 64 << 10;

/// A socket that has somebody at its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Whom it speaks with.
    pub address: IpAddr,
    /// At which port.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: u8,
    /// The mark of its packets.
    pub mark: u32,
}

/// Ends the sockets in a cgroup and below it, in whichever namespace, that `ends` says to end; tells how many. The processes of the cgroup are those that
/// the namespaces are found by.
///
/// # Errors
/// When a namespace cannot be entered, or what the kernel refused.
pub fn end_sockets(cgroup: &Path, ends: impl Fn(Connected) -> bool + Sync) -> Result<usize, Error> {
    let (mut ids, mut namespaces) = (BTreeSet::new(), BTreeMap::new());
    look(cgroup, &mut ids, &mut namespaces).map_err(Error::file("look at", cgroup))?;
    let mut ended = 0;
    for namespace in namespaces.values() {
        let failed = |source| Error::Socket { action: "end a socket of a cgroup", source };
        ended += namespace.enter(|| end_here(&ids, &ends))?.map_err(failed)?;
    }
    Ok(ended)
}

/// Ids of a cgroup and of those below it, and the namespaces of their processes.
fn look(cgroup: &Path, ids: &mut BTreeSet<u64>, namespaces: &mut BTreeMap<u64, Namespace>) -> io::Result<()> {
    ids.insert(fs::metadata(cgroup)?.ino());
    for pid in fs::read_to_string(cgroup.join("cgroup.procs"))?.lines().filter_map(|line| line.parse::<u32>().ok()) {
        // One that has ended meanwhile has no namespace.
        let inode = fs::metadata(format!("/proc/{pid}/ns/net")).map(|found| found.ino());
        if let Ok(inode) = inode
            && !namespaces.contains_key(&inode)
            && let Ok(namespace) = Namespace::find(&NetnsRef::Pid(pid))
        {
            namespaces.insert(inode, namespace);
        }
    }
    for entry in fs::read_dir(cgroup)?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        look(&entry.path(), ids, namespaces)?;
    }
    Ok(())
}

/// Ends sockets in the namespace of the calling thread.
fn end_here(cgroups: &BTreeSet<u64>, ends: &impl Fn(Connected) -> bool) -> io::Result<usize> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut ended = 0;
    for (family, protocol) in
        [(AF_INET, IPPROTO_TCP), (AF_INET6, IPPROTO_TCP), (AF_INET, IPPROTO_UDP), (AF_INET6, IPPROTO_UDP)]
    {
        for found in connected(&socket, family, protocol)? {
            let (cgroup, mark) = told(&found);
            let SocketId { destination_address: address, destination_port: port, .. } = found.header.socket_id;
            let is_its = cgroup.is_some_and(|cgroup| cgroups.contains(&cgroup));
            if is_its && port != 0 && ends(Connected { address: address.to_canonical(), port, protocol, mark }) {
                destroy(&socket, protocol, &found)?;
                ended += 1;
            }
        }
    }
    Ok(ended)
}

fn connected(socket: &Socket, family: u8, protocol: u8) -> io::Result<Vec<InetResponse>> {
    let states = StateFlags::all() - StateFlags::LISTEN - StateFlags::TIME_WAIT - StateFlags::CLOSE;
    let id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
    ask(socket, SockDiagMessage::InetRequest(request(family, protocol, states, id)), NLM_F_REQUEST | NLM_F_DUMP)?;
    let (mut found, mut buffer) = (Vec::new(), Vec::with_capacity(MOST));
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        let mut rest = buffer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(one)) => found.push(*one),
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length.max(4)..).unwrap_or_default();
        }
    }
}

fn destroy(socket: &Socket, protocol: u8, found: &InetResponse) -> io::Result<()> {
    let request = request(found.header.family, protocol, StateFlags::all(), found.header.socket_id.clone());
    ask(socket, SockDiagDestroy::new(SockDiagMessage::InetRequest(request)), NLM_F_REQUEST | NLM_F_ACK)?;
    let mut buffer = Vec::with_capacity(MOST);
    socket.recv(&mut buffer, 0)?;
    let message = NetlinkMessage::<SockDiagMessage>::deserialize(&buffer).map_err(io::Error::other)?;
    match message.payload {
        // It may have ended by itself.
        NetlinkPayload::Error(error) if error.code.is_some() && error.raw_code() != -libc::ENOENT => Err(error.to_io()),
        _ => Ok(()),
    }
}

fn request(family: u8, protocol: u8, states: StateFlags, socket_id: SocketId) -> InetRequest {
    InetRequest { family, protocol, extensions: ExtensionFlags::empty(), states, socket_id }
}

fn ask<T: NetlinkSerializable + NetlinkDeserializable>(socket: &Socket, what: T, flags: u16) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(what));
    message.finalize();
    let mut buffer = vec![0; message.buffer_len()];
    message.serialize(&mut buffer);
    socket.send(&buffer, 0).map(drop)
}

/// The cgroup and the mark of a socket.
fn told(found: &InetResponse) -> (Option<u64>, u32) {
    let (mut cgroup, mut mark) = (None, 0);
    for attribute in &found.nlas {
        match attribute {
            Nla::Mark(of) => mark = *of,
            Nla::Other(other) if netlink_packet_core::Nla::kind(other) == CGROUP_ID => {
                let mut bytes = [0; 8];
                if netlink_packet_core::Nla::value_len(other) == bytes.len() {
                    netlink_packet_core::Nla::emit_value(other, &mut bytes);
                    cgroup = Some(u64::from_ne_bytes(bytes));
                }
            }
            _ => {}
        }
    }
    (cgroup, mark)
}
