//! Traffic control (tc) of one device: its clsact qdisc and the filters there.
//!
//! Each request has a blocking socket of its own, opened inside the device's namespace: they are asked for every second, and
//! must cost little.

use crate::hook::Hook;
use crate::{Error, Namespace};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage::{self, *};
use rtnetlink::packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcMessage, TcOption,
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The first priority that a filter can have.
const PRIORITY: u16 = 1;
/// The handle of the filter's filters at each hook, `sfc1` in ASCII: one that nobody else takes and the kernel does not give.
const HANDLE: u32 = 0x7366_6331;
/// Room for what the kernel tells of one filter, in bytes.
const ANSWER: usize = 8 << 10;
/// `ETH_P_ALL` in network order.
const ALL_PROTOCOLS: u16 = 0x0003_u16.to_be();

/// What to do about a filter that has the filter's own priority and handle already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Refuse,
    Replace,
}

/// A device's traffic control. The outer errors are those of entering the namespace, the inner ones the kernel's answers:
/// `ENODEV` when the device is gone.
pub(crate) struct Tc<'n> {
    namespace: &'n Namespace,
    ifindex: u32,
}

impl<'n> Tc<'n> {
    pub(crate) fn new(namespace: &'n Namespace, ifindex: u32) -> Tc<'n> {
        Tc { namespace, ifindex }
    }

    /// Whether the device has a clsact qdisc.
    pub(crate) fn has_clsact(&self) -> Result<io::Result<bool>, Error> {
        // The kernel answers to those who listen to notices, and to who asks only when told to.
        let found = self.request(GetQueueDiscipline(self.message(TcHandle::CLSACT)), NLM_F_ECHO)?;
        let is_clsact = |found: &TcMessage| found.attributes.contains(&TcAttribute::Kind("clsact".to_owned()));
        Ok(match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other.map(|found| found.iter().any(is_clsact)),
        })
    }

    /// Gives the device a clsact qdisc unless it has one.
    pub(crate) fn add_clsact(&self) -> Result<io::Result<()>, Error> {
        let mut message = self.message(TcHandle::CLSACT);
        message.header.handle = TcHandle { major: u16::MAX, minor: 0 };
        message.attributes.push(TcAttribute::Kind("clsact".to_owned()));
        Ok(match self.request(NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_EXCL)? {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map(drop),
        })
    }

    /// Takes the qdisc away, with all filters.
    pub(crate) fn delete_clsact(&self) -> Result<io::Result<()>, Error> {
        let mut message = self.message(TcHandle::CLSACT);
        message.header.handle = TcHandle { major: u16::MAX, minor: 0 };
        Ok(self.request(DelQueueDiscipline(message), 0)?.map(drop))
    }

    /// Whether the device has a clsact qdisc without a filter.
    pub(crate) fn is_unused(&self) -> Result<bool, Error> {
        let mut unused = self.has_clsact()?.unwrap_or(false);
        for hook in Hook::ALL {
            unused = unused && self.filters(hook)?.is_ok_and(|filters| filters.is_empty());
        }
        Ok(unused)
    }

    /// Makes the filter's filter at a hook, with this program in direct-action mode.
    pub(crate) fn put(&self, hook: Hook, program: BorrowedFd<'_>, existing: Existing) -> Result<io::Result<()>, Error> {
        let mut message = self.own(hook);
        message.attributes.push(TcAttribute::Kind(TcFilterBpf::KIND.to_owned()));
        message.attributes.push(TcAttribute::Options(
            [
                TcFilterBpfOption::ProgFd(program.as_raw_fd() as u32),
                TcFilterBpfOption::ProgName(hook.program().to_owned()),
                TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
            ]
            .map(TcOption::Bpf)
            .into(),
        ));
        let exclusive = if existing == Existing::Refuse { NLM_F_EXCL } else { 0 };
        Ok(self.request(NewTrafficFilter(message), NLM_F_CREATE | exclusive)?.map(drop))
    }

    /// Whether the kernel has filters that are programs: it misses the program then, and not the kind of filter.
    pub(crate) fn knows_bpf(&self) -> Result<bool, Error> {
        let mut message = self.own(Hook::FromSandbox);
        message.attributes.push(TcAttribute::Kind(TcFilterBpf::KIND.to_owned()));
        let refused = self.request(NewTrafficFilter(message), NLM_F_CREATE)?;
        Ok(refused.is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput))
    }

    /// The id of the program in the filter's filter at a hook.
    pub(crate) fn program(&self, hook: Hook) -> Result<io::Result<u32>, Error> {
        let found = self.request(GetTrafficFilter(self.own(hook)), 0)?;
        Ok(found.and_then(|found| found.iter().find_map(program_id).ok_or(io::ErrorKind::NotFound.into())))
    }

    /// [`Self::program`] of several hooks, by one socket.
    pub(crate) fn programs(&self, hooks: &[Hook]) -> Result<Vec<io::Result<u32>>, Error> {
        self.namespace.enter(|| {
            let socket = match connect() {
                Ok(socket) => socket,
                Err(error) => return hooks.iter().map(|_| Err(io::Error::from(error.kind()))).collect(),
            };
            let ask = |hook: &Hook| {
                // What is found is the answer, and so is an error: no other is asked for.
                send(&socket, GetTrafficFilter(self.own(*hook)), 0)?;
                let mut bytes = Vec::with_capacity(ANSWER);
                socket.recv(&mut bytes, 0)?;
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).map_err(io::Error::other)?;
                match answer.payload {
                    NetlinkPayload::InnerMessage(NewTrafficFilter(found)) => {
                        program_id(&found).ok_or(io::ErrorKind::NotFound.into())
                    }
                    NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
                    _ => Err(io::ErrorKind::InvalidData.into()),
                }
            };
            hooks.iter().map(ask).collect()
        })
    }

    /// Deletes the filter's filter at a hook.
    pub(crate) fn delete(&self, hook: Hook) -> Result<io::Result<()>, Error> {
        Ok(self.request(DelTrafficFilter(self.own(hook)), 0)?.map(drop))
    }

    /// What people know the filters at a hook by, in the order in which they see packets: the name of a program, or what else
    /// the filter is.
    pub(crate) fn filters(&self, hook: Hook) -> Result<io::Result<Vec<String>>, Error> {
        let dump = self.request(GetTrafficFilter(self.message(parent(hook))), NLM_F_DUMP)?;
        // A filter without a handle is only the head of a list.
        Ok(dump
            .map(|found| found.iter().filter(|filter| filter.header.handle != TcHandle::UNSPEC).map(label).collect()))
    }

    fn message(&self, parent: TcHandle) -> TcMessage {
        let mut message = TcMessage::with_index(self.ifindex as i32);
        message.header.parent = parent;
        message
    }

    fn own(&self, hook: Hook) -> TcMessage {
        let mut message = self.message(parent(hook));
        message.header.handle = HANDLE.into();
        message.header.info = u32::from(PRIORITY) << 16 | u32::from(ALL_PROTOCOLS);
        message
    }

    fn request(&self, message: RouteNetlinkMessage, flags: u16) -> Result<io::Result<Vec<TcMessage>>, Error> {
        self.namespace.enter(move || {
            let socket = connect()?;
            send(&socket, message, NLM_F_ACK | flags)?;
            answers(&socket)
        })
    }
}

fn connect() -> io::Result<Socket> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn send(socket: &Socket, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0).map(drop)
}

fn parent(hook: Hook) -> TcHandle {
    let minor = match hook {
        Hook::FromSandbox | Hook::FromBridge => TcHandle::MIN_INGRESS,
        Hook::ToSandbox => TcHandle::MIN_EGRESS,
    };
    TcHandle { major: u16::MAX, minor }
}

/// Reads what the kernel answers, to the acknowledgement or the end of the list.
fn answers(socket: &Socket) -> io::Result<Vec<TcMessage>> {
    let mut found = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
            match message.payload {
                NetlinkPayload::InnerMessage(NewTrafficFilter(one) | NewQueueDiscipline(one)) => found.push(one),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(found),
                _ => {}
            }
        }
    }
}

fn options(filter: &TcMessage) -> impl Iterator<Item = &TcFilterBpfOption> {
    let options = filter.attributes.iter().filter_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    options.flatten().filter_map(|option| match option {
        TcOption::Bpf(option) => Some(option),
        _ => None,
    })
}

fn program_id(filter: &TcMessage) -> Option<u32> {
    options(filter).find_map(|option| if let TcFilterBpfOption::ProgId(id) = option { Some(*id) } else { None })
}

fn label(filter: &TcMessage) -> String {
    let name = options(filter).find_map(|option| match option {
        TcFilterBpfOption::ProgName(name) => Some(name.clone()),
        _ => None,
    });
    let kind = filter.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    });
    name.unwrap_or_else(|| format!("a filter of kind {}", kind.unwrap_or("unknown")))
}
