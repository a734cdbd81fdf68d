//! What the kernel says about links, addresses and routes of a namespace.

use crate::{Error, Namespace};
use futures_util::{Stream, StreamExt, TryStreamExt};
use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::packet_route::rule::RuleAttribute;
use rtnetlink::{Handle, IpVersion, MulticastGroup, RouteMessageBuilder};
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its index in its namespace.
    pub ifindex: u32,
    /// Its link layer.
    pub layer: LinkLayerType,
    /// Its MAC address, for Ethernet devices.
    pub mac: Option<[u8; 6]>,
    /// What kind of virtual device it is; `None` for a physical one.
    pub kind: Option<InfoKind>,
    /// The bridge or bond it is a port of.
    pub controller: Option<u32>,
    /// Index of the device that it leads to (the peer of a veth).
    pub leads_to: Option<u32>,
    /// Whether that device is in another namespace, and which by this namespace's numbering.
    pub other_netns: Option<i32>,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether somebody is at the far end: the peer of a veth is up, a TAP device has a reader.
    pub carrier: bool,
    /// Packets that it has received.
    pub received: u64,
}

/// An address of a device, with the prefix it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAddress {
    /// Index of the device.
    pub ifindex: u32,
    /// The address and its prefix length; host bits are kept.
    pub address: IpNet,
    /// The network behind it: for a point-to-point address that of the far end.
    pub network: IpNet,
}

/// The device called `name`, if there is one.
///
/// # Errors
/// When the namespace cannot be entered or asked.
pub fn link(namespace: &Namespace, name: &str) -> Result<Option<Link>, Error> {
    ask(namespace, "look up a device", async |handle: Handle| {
        match handle.link().get().match_name(name.to_owned()).execute().try_next().await {
            Err(rtnetlink::Error::NetlinkError(refusal)) if refusal.raw_code() == -libc::ENODEV => Ok(None),
            other => Ok(other?.map(to_link)),
        }
    })
}

/// All devices.
///
/// # Errors
/// As [`link`].
pub fn links(namespace: &Namespace) -> Result<Vec<Link>, Error> {
    ask(namespace, "list devices", async |handle: Handle| {
        handle.link().get().execute().map_ok(to_link).try_collect().await
    })
}

/// All addresses of all devices.
///
/// # Errors
/// As [`link`].
pub fn addresses(namespace: &Namespace) -> Result<Vec<DeviceAddress>, Error> {
    ask(namespace, "list addresses", async |handle: Handle| {
        let messages: Vec<AddressMessage> = handle.address().get().execute().try_collect().await?;
        Ok(messages.into_iter().filter_map(to_address).collect())
    })
}

/// Indexes of the devices that default routes leave by.
///
/// # Errors
/// As [`link`].
pub fn default_route_devices(namespace: &Namespace) -> Result<Vec<u32>, Error> {
    ask(namespace, "list routes", async |handle: Handle| {
        let mut routes: Vec<RouteMessage> = Vec::new();
        let families = [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()];
        for family in families {
            routes.extend(handle.route().get(family).execute().try_collect::<Vec<_>>().await?);
        }
        Ok(routes.into_iter().filter(|route| route.header.destination_prefix_length == 0).flat_map(out_of).collect())
    })
}

/// A routing rule that looks at packet marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkRule {
    /// Its priority.
    pub priority: u32,
    /// The mark that it looks for.
    pub mark: u32,
    /// The bits that it looks at.
    pub mask: u32,
}

/// The routing rules that look at packet marks.
///
/// # Errors
/// As [`link`].
pub fn mark_rules(namespace: &Namespace) -> Result<Vec<MarkRule>, Error> {
    ask(namespace, "list routing rules", async |handle: Handle| {
        let mut rules = Vec::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            rules.extend(handle.rule().get(version).execute().try_collect::<Vec<_>>().await?);
        }
        Ok(rules.iter().filter_map(|rule| to_mark_rule(&rule.attributes)).collect())
    })
}

fn to_mark_rule(attributes: &[RuleAttribute]) -> Option<MarkRule> {
    let mut rule = MarkRule { priority: 0, mark: 0, mask: u32::MAX };
    let mut marked = false;
    for attribute in attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::FwMark(mark) => (rule.mark, marked) = (*mark, true),
            RuleAttribute::FwMask(mask) => rule.mask = *mask,
            _ => {}
        }
    }
    marked.then_some(rule)
}

/// Notices that a link, an address, a qdisc or a filter of the process's namespace has changed; what has, is for the caller to
/// look up.
///
/// # Errors
/// When the kernel refuses the subscription. Must be called inside a tokio runtime.
pub fn notices() -> Result<impl Stream<Item = ()> + Send, Error> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr, MulticastGroup::Tc];
    let (connection, _, messages) = rtnetlink::new_multicast_connection(&groups)
        .map_err(|error| Error::Netlink { action: "subscribe to notices", reason: error.to_string() })?;
    tokio::spawn(connection);
    Ok(messages.map(drop))
}

/// The number by which `namespace` knows the other one, if it knows it.
///
/// # Errors
/// As [`link`].
pub(crate) fn number_of(namespace: &Namespace, other: &Namespace) -> Result<Option<i32>, Error> {
    use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
    use rtnetlink::packet_route::RouteNetlinkMessage;
    use rtnetlink::packet_route::nsid::{NsidAttribute, NsidMessage};
    use std::os::fd::AsRawFd;

    let fd = other.file().as_raw_fd() as u32;
    ask(namespace, "look up a namespace", async |mut handle: Handle| {
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(fd));
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(message));
        request.header.flags = NLM_F_REQUEST;
        let mut answers = handle.request(request)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(found)) = answer.payload {
                return Ok(found.attributes.into_iter().find_map(|attribute| match attribute {
                    NsidAttribute::Id(id) if id >= 0 => Some(id),
                    _ => None,
                }));
            }
        }
        Ok(None)
    })
}

fn ask<T, F>(namespace: &Namespace, action: &'static str, question: impl FnOnce(Handle) -> F + Send) -> Result<T, Error>
where
    T: Send,
    F: Future<Output = Result<T, rtnetlink::Error>>,
{
    let failed = |reason: String| Error::Netlink { action, reason };
    let work = move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(|e| failed(e.to_string()))?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().map_err(|e| failed(e.to_string()))?;
            let connection = tokio::spawn(connection);
            let answer = question(handle).await.map_err(|e| failed(e.to_string()));
            connection.abort();
            answer
        })
    };
    // A thread of its own also where the namespace is ours: the caller may be inside another runtime.
    std::thread::scope(|scope| scope.spawn(|| namespace.enter(work)).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?
}

fn to_link(message: LinkMessage) -> Link {
    let mut link = Link {
        name: String::new(),
        ifindex: message.header.index,
        layer: message.header.link_layer_type,
        mac: None,
        kind: None,
        controller: None,
        leads_to: None,
        other_netns: None,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        received: 0,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok(),
            LinkAttribute::Controller(index) => link.controller = Some(index),
            LinkAttribute::Link(index) => link.leads_to = Some(index),
            LinkAttribute::Stats64(counters) => link.received = counters.rx_packets,
            LinkAttribute::LinkNetNsId(number) => link.other_netns = Some(number),
            LinkAttribute::LinkInfo(infos) => {
                link.kind = infos.into_iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    link
}

fn to_address(message: AddressMessage) -> Option<DeviceAddress> {
    let bits = message.header.prefix_len;
    let (mut local, mut network) = (None, None);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(address),
            AddressAttribute::Address(address) => network = Some(address),
            _ => {}
        }
    }
    let network = network.or(local)?;
    Some(DeviceAddress {
        ifindex: message.header.index,
        address: IpNet::new(local.unwrap_or(network), bits).ok()?,
        network: IpNet::new(network, bits).ok()?.trunc(),
    })
}

fn out_of(route: RouteMessage) -> Vec<u32> {
    route
        .attributes
        .into_iter()
        .flat_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => vec![index],
            RouteAttribute::MultiPath(hops) => hops.into_iter().map(|hop| hop.interface_index).collect(),
            _ => Vec::new(),
        })
        .collect()
}
