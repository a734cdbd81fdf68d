//! What the kernel says about links, addresses and routes of a namespace.

mod ask;
mod keep;
mod numbers;

pub use ask::ask;
pub use keep::{PRIORITY, TABLE, keep_marked, let_marked_go};
pub(crate) use numbers::{give_number, number_of};

use crate::{Error, Namespace};
use ask::ask_strictly;
use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::packet_route::rule::RuleAttribute;
use rtnetlink::{Handle, IpVersion};

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

/// A device by its index, if there is one.
///
/// # Errors
/// As [`link`].
pub fn link_at(namespace: &Namespace, ifindex: u32) -> Result<Option<Link>, Error> {
    ask(namespace, "look up a device", async |handle: Handle| link_of(&handle, ifindex).await)
}

/// The addresses of one device.
///
/// # Errors
/// As [`link`].
pub fn addresses_of(namespace: &Namespace, ifindex: u32) -> Result<Vec<DeviceAddress>, Error> {
    ask_strictly(namespace, "list addresses", async |handle: Handle| addresses_on(&handle, ifindex).await)
}

/// Devices with their addresses, by index; those that are gone are left out.
///
/// # Errors
/// As [`link`].
pub fn devices(namespace: &Namespace, indexes: &[u32]) -> Result<Vec<(Link, Vec<DeviceAddress>)>, Error> {
    ask_strictly(namespace, "look up devices", async |handle: Handle| {
        let mut found = Vec::with_capacity(indexes.len());
        for ifindex in indexes {
            if let Some(link) = link_of(&handle, *ifindex).await? {
                found.push((link, addresses_on(&handle, *ifindex).await?));
            }
        }
        Ok(found)
    })
}

async fn link_of(handle: &Handle, ifindex: u32) -> Result<Option<Link>, rtnetlink::Error> {
    let answer = handle.link().get().match_index(ifindex).execute().try_next().await;
    Ok(unless_gone(answer)?.flatten().map(to_link))
}

/// Needs a connection with strict checks: without them the kernel lists the addresses of all devices.
async fn addresses_on(handle: &Handle, ifindex: u32) -> Result<Vec<DeviceAddress>, rtnetlink::Error> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = handle.address().get();
        request.message_mut().header.index = ifindex;
        request.message_mut().header.family = family;
        let messages: Option<Vec<AddressMessage>> = unless_gone(request.execute().try_collect().await)?;
        let addresses = messages.into_iter().flatten().filter_map(to_address);
        found.extend(addresses.filter(|address| address.ifindex == ifindex));
    }
    Ok(found)
}

fn unless_gone<T>(answer: Result<T, rtnetlink::Error>) -> Result<Option<T>, rtnetlink::Error> {
    match answer {
        Err(rtnetlink::Error::NetlinkError(refusal)) if refusal.raw_code() == -libc::ENODEV => Ok(None),
        other => other.map(Some),
    }
}

/// Whether a default route leaves by a device.
///
/// # Errors
/// As [`link`].
pub fn has_default_route(namespace: &Namespace, ifindex: u32) -> Result<bool, Error> {
    ask_strictly(namespace, "list routes", async |handle: Handle| {
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut question = RouteMessage::default();
            question.header.address_family = family;
            question.attributes.push(RouteAttribute::Oif(ifindex));
            let routes: Option<Vec<RouteMessage>> =
                unless_gone(handle.route().get(question).execute().try_collect().await)?;
            let is_default = |route: &RouteMessage| route.header.destination_prefix_length == 0;
            if routes.into_iter().flatten().any(|route| is_default(&route) && out_of(route).contains(&ifindex)) {
                return Ok(true);
            }
        }
        Ok(false)
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
