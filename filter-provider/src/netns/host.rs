//! Whether the host is ready for the configuration.

use super::links::Own;
use super::pool::overlap;
use crate::Error;
use crate::netns::Config;
use filter_dataplane::Namespace;
use filter_dataplane::netlink::{self, ask};
use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Checks that the uplink is there, that packets are passed on, and that nothing on the host has addresses of the pool. Returns the uplink's
/// MTU.
pub(super) fn check(host: &Namespace, config: &Config, pool: &[IpNet], own: &[Own]) -> Result<u32, Error> {
    let mtu = mtu(host, &config.uplink)?;
    let own: BTreeSet<u32> = own.iter().map(|device| device.ifindex).collect();
    if let Some((net, taken)) = taken(host, pool, &own)? {
        return Err(Error::Host {
            field: "netns.pool",
            reason: format!("{net} overlaps {taken}"),
            hint: "choose a prefix that nothing on this host or its links uses".to_owned(),
        });
    }
    if pool.iter().any(|net| net.addr().is_ipv4()) {
        is_on(
            host,
            &format!("net/ipv4/conf/{}/forwarding", config.uplink),
            &format!(
                "sysctl -w net.ipv4.conf.{}.forwarding=1 (or net.ipv4.ip_forward=1), and the same in /etc/sysctl.d",
                config.uplink
            ),
        )?;
    }
    if pool.iter().any(|net| net.addr().is_ipv6()) {
        is_on(
            host,
            "net/ipv6/conf/all/forwarding",
            &format!(
                "sysctl -w net.ipv6.conf.all.forwarding=1, and the same in /etc/sysctl.d; \
             if {0} gets its address or route from router advertisements, first net.ipv6.conf.{0}.accept_ra=2, \
             for a router minds them no longer. Or give the pool no IPv6 prefix",
                config.uplink
            ),
        )?;
    }
    Ok(mtu)
}

/// The MTU of the uplink, which must be there.
pub(super) fn mtu(host: &Namespace, uplink: &str) -> Result<u32, Error> {
    let missing = || Error::Host {
        field: "netns.uplink",
        reason: format!("there is no device {uplink:?}"),
        hint: "`ip route get 1.1.1.1` shows which device leads to the internet".to_owned(),
    };
    netlink::link(host, uplink)?.ok_or_else(missing)?;
    let message = ask(host, "look up the uplink", async |handle: Handle| {
        handle.link().get().match_name(uplink.to_owned()).execute().try_next().await
    })?;
    let attributes = message.map(|message| message.attributes).unwrap_or_default();
    let mtu = attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(mtu),
        _ => None,
    });
    mtu.ok_or_else(missing)
}

/// A prefix of the pool that somebody else has, and who.
fn taken(host: &Namespace, pool: &[IpNet], own: &BTreeSet<u32>) -> Result<Option<(IpNet, String)>, Error> {
    let pooled = |other: &IpNet| pool.iter().find(|net| overlap(net, other)).copied();
    for address in netlink::addresses(host)?.into_iter().filter(|address| !own.contains(&address.ifindex)) {
        if let Some(net) = pooled(&address.network).or_else(|| pooled(&address.address.trunc())) {
            return Ok(Some((net, format!("{}, which a device of this host has", address.address))));
        }
    }
    let routes: Vec<RouteMessage> = ask(host, "list routes", async |handle: Handle| {
        let mut all: Vec<RouteMessage> = Vec::new();
        // One after the other: a socket lists one thing at a time.
        for question in [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()]
        {
            all.extend(handle.route().get(question).execute().try_collect::<Vec<_>>().await?);
        }
        Ok(all)
    })?;
    let found = routes.iter().filter_map(|route| on_link(route, own)).find_map(|route| Some((pooled(&route)?, route)));
    Ok(found.map(|(net, route)| (net, format!("{route}, which is on a link of this host"))))
}

/// The prefix that a route finds at the far end of a device, but for the default route and those of our devices.
fn on_link(route: &RouteMessage, own: &BTreeSet<u32>) -> Option<IpNet> {
    let RouteHeader { kind, destination_prefix_length: bits, .. } = route.header;
    let (mut to, mut device, mut by_gateway) = (None, None, false);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => to = Some(IpAddr::V4(*address)),
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => to = Some(IpAddr::V6(*address)),
            RouteAttribute::Oif(index) => device = Some(*index),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) | RouteAttribute::MultiPath(_) => by_gateway = true,
            _ => {}
        }
    }
    let foreign = device.is_some_and(|device| !own.contains(&device));
    let wanted = kind == RouteType::Unicast && bits > 0 && foreign && !by_gateway;
    wanted.then(|| IpNet::new(to?, bits).ok()).flatten()
}

fn is_on(host: &Namespace, parameter: &str, hint: &str) -> Result<(), Error> {
    let value = host.enter(|| fs::read_to_string(format!("/proc/sys/{parameter}")))?;
    if value.as_deref().is_ok_and(|value| value.trim_end() != "0") {
        return Ok(());
    }
    let reason = match value {
        Ok(_) => "is 0: the host passes no packets on".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    Err(Error::Host {
        field: "netns.uplink",
        reason: format!("{} {reason}", parameter.replacen("net/", "net.", 1).replace('/', ".")),
        hint: hint.to_owned(),
    })
}
