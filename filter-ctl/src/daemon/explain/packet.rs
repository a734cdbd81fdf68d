//! The packet that is made for a question.

use crate::api::Protocol;
use crate::daemon::node::Held;
use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};
use filter_core::Address;
use filter_policy::Sources;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a packet goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) protocol: Protocol,
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
}

/// An address that the sandbox may send from, of the destination's family; one that it may not when it has none.
pub(super) fn source(held: &Held, destination: IpAddr) -> IpAddr {
    let foreign = match destination {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    };
    let Sources::Prefixes(prefixes) = &held.sandbox.sources else {
        return foreign;
    };
    let gateways = &held.config.gateways[..usize::from(held.config.gateway_count)];
    let own =
        |prefix: &IpNet| prefix.hosts().take(1 + gateways.len()).find(|host| !gateways.contains(&Address::from(*host)));
    prefixes.iter().filter(|prefix| prefix.addr().is_ipv4() == destination.is_ipv4()).find_map(own).unwrap_or(foreign)
}

/// The packet: the first of a connection, a datagram, or an echo question.
pub(super) fn frame(held: &Held, source: IpAddr, question: &Question) -> anyhow::Result<Vec<u8>> {
    const SOURCE_PORT: u16 = 49_152;
    const HOPS: u8 = 64;

    // A sandbox whose MAC is not checked may have any but the gateway's.
    let gateway = held.config.gateway_mac.bytes();
    let mut any = gateway;
    any[5] ^= 1;
    let link = PacketBuilder::ethernet2(held.sandbox.mac.unwrap_or(any), gateway);
    let ip: PacketBuilderStep<IpHeaders> = match (source, question.address) {
        (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), HOPS),
        (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), HOPS),
        _ => anyhow::bail!("no packet can go from {source} to {}", question.address),
    };
    let port = question.port.unwrap_or_default();
    let mut bytes = Vec::with_capacity(128);
    match (question.protocol, question.address) {
        (Protocol::Tcp, _) => ip.tcp(SOURCE_PORT, port, 0, u16::MAX).syn().write(&mut bytes, &[])?,
        (Protocol::Udp, _) => ip.udp(SOURCE_PORT, port).write(&mut bytes, &[])?,
        (Protocol::Icmp, IpAddr::V4(_)) => ip.icmpv4_echo_request(1, 1).write(&mut bytes, &[])?,
        (Protocol::Icmp, IpAddr::V6(_)) => ip.icmpv6_echo_request(1, 1).write(&mut bytes, &[])?,
    }
    Ok(bytes)
}
