//! What would become of a new connection, and why: the attached program judges a first packet that is made here. It runs without
//! the sandbox's flow table, so it is never an answer.

use super::node::{Held, Node};
use super::refusal::Refusal;
use super::status::device_label;
use crate::api::{ExplainRequest, Explanation, Protocol};
use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};
use filter_core::{Address, Reason, protected};
use filter_policy::explain::{Decided, origin};
use filter_policy::{Operator, Sources};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Has the attached program judge a packet, and finds the entry that decided.
pub(super) fn explain(node: &mut Node, id: &str, request: &ExplainRequest) -> Result<Explanation, Refusal> {
    let held = node.held(id)?.clone();
    if held.gone {
        return Err(Refusal::Conflict {
            message: format!("the device {} of sandbox \"{id}\" is gone: no program judges for it", held.record.device),
            hint: Some("apply its document again when there is a new device".to_owned()),
        });
    }
    if request.protocol != Protocol::Icmp && request.port.is_none() {
        return Err(Refusal::Request { message: "a destination port is missing".to_owned(), hint: None });
    }
    let source = source(&held, request.address);
    let frame = frame(&held, source, request).map_err(Refusal::internal)?;
    let judgement = node.dataplane.explain(held.place(), &frame)?;
    // A made packet meets no listener.
    let handed_over = judgement.reason == Reason::SidecarUnavailable && node.sidecar.has(held.record.slot);
    let reason = if handed_over { Reason::HandedOver } else { judgement.reason };
    let why = Why::new(&held, &node.config.operator, request, reason);
    Ok(Explanation {
        id: id.to_owned(),
        allowed: judgement.passes || handed_over,
        reason: reason.number(),
        reason_name: reason.name().to_owned(),
        meaning: reason.meaning().to_owned(),
        source,
        destination: request.address,
        protocol: request.protocol,
        port: request.port.filter(|_| request.protocol != Protocol::Icmp),
        field: why.field,
        entry: why.entry,
        place: why.place,
        advice: why.advice,
        device: device_label(&held.sandbox, &held.record.device),
        generation: held.record.generation,
    })
}

/// An address that the sandbox may send from, of the destination's family; one that it may not when it has none.
fn source(held: &Held, destination: IpAddr) -> IpAddr {
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

/// The packet: the first of a connection, a datagram, or an echo request.
fn frame(held: &Held, source: IpAddr, request: &ExplainRequest) -> anyhow::Result<Vec<u8>> {
    const SOURCE_PORT: u16 = 49_152;
    const HOPS: u8 = 64;

    // A sandbox whose MAC is not checked may have any but the gateway's.
    let gateway = held.config.gateway_mac.bytes();
    let mut any = gateway;
    any[5] ^= 1;
    let link = PacketBuilder::ethernet2(held.sandbox.mac.unwrap_or(any), gateway);
    let ip: PacketBuilderStep<IpHeaders> = match (source, request.address) {
        (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), HOPS),
        (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), HOPS),
        _ => anyhow::bail!("no packet can go from {source} to {}", request.address),
    };
    let port = request.port.unwrap_or_default();
    let mut bytes = Vec::with_capacity(128);
    match (request.protocol, request.address) {
        (Protocol::Tcp, _) => ip.tcp(SOURCE_PORT, port, 0, u16::MAX).syn().write(&mut bytes, &[])?,
        (Protocol::Udp, _) => ip.udp(SOURCE_PORT, port).write(&mut bytes, &[])?,
        (Protocol::Icmp, IpAddr::V4(_)) => ip.icmpv4_echo_request(1, 1).write(&mut bytes, &[])?,
        (Protocol::Icmp, IpAddr::V6(_)) => ip.icmpv6_echo_request(1, 1).write(&mut bytes, &[])?,
    }
    Ok(bytes)
}

/// What decided, for people.
#[derive(Default)]
struct Why {
    field: Option<String>,
    entry: Option<String>,
    place: Option<String>,
    advice: Option<String>,
}

impl Why {
    fn new(held: &Held, operator: &Operator, request: &ExplainRequest, reason: Reason) -> Why {
        let address = Address::from(request.address);
        let listed = |decided: &Decided<'_>| {
            let field = decided.field();
            let place = field.as_ref().zip(held.record.lines.as_ref()).map(|(field, lines)| lines.place(field));
            Why { entry: decided.text().map(str::to_owned), place, field, advice: None }
        };
        let configured = |field: &str, entry: Option<String>, advice: &str| Why {
            field: Some(field.to_owned()),
            entry,
            place: Some("the operator's configuration".to_owned()),
            advice: Some(advice.to_owned()),
        };
        let advise = |advice: String| Why { advice: Some(advice), ..Why::default() };
        match reason {
            Reason::AllowedByDefault => {
                advise("no entry names it; deny \"0.0.0.0/0\" to allow only what is listed".to_owned())
            }
            Reason::AllowedByList => listed(&origin(&held.sandbox.policy, operator, &address).decided),
            Reason::AddressDenied => Why {
                advice: Some(format!("to allow: add \"{}\" to allowOut", request.address)),
                ..listed(&origin(&held.sandbox.policy, operator, &address).decided)
            },
            Reason::AllowedNameserver => {
                configured("nameservers", Some(request.address.to_string()), "port 53 only, since the policy has names")
            }
            Reason::ProtectedRange => Why {
                entry: fixed_range(&address),
                advice: Some("no policy reaches it; only the operator's openRanges lifts the protection".to_owned()),
                ..Why::default()
            },
            Reason::ProtectedHost | Reason::ProtectedLink => {
                advise("no policy reaches it; only the operator's openRanges lifts the protection".to_owned())
            }
            Reason::ProtectedSandbox => advise("one sandbox never reaches another, whatever is configured".to_owned()),
            Reason::SourceAddress => advise(format!(
                "its addresses have none of {}: add one to addresses",
                if address.is_v4() { "IPv4" } else { "IPv6" }
            )),
            Reason::Sealed => advise(format!("it was deleted; filter-ctl detach {} opens its device", held.sandbox.id)),
            Reason::HandedOver => advise("it passes when its HTTP Host or TLS SNI is a name in allowOut".to_owned()),
            Reason::SidecarUnavailable => advise(
                "rules and egressProxy are not enforced yet; names need the sidecar, which the daemon starts again"
                    .to_owned(),
            ),
            _ => Why::default(),
        }
    }
}

/// The fixed protected range around an address, as people write it.
fn fixed_range(address: &Address) -> Option<String> {
    let ip = IpAddr::from(*address);
    let v4 = protected::V4.iter().filter_map(|(net, bits)| IpNet::new(IpAddr::from(*net), *bits).ok());
    let v6 = protected::V6
        .iter()
        .filter_map(|(high, bits)| IpNet::new(IpAddr::from(Ipv6Addr::from(u128::from(*high) << 64)), *bits).ok());
    let low = IpNet::new(IpAddr::from(Ipv6Addr::UNSPECIFIED), 96).ok();
    v4.chain(v6).chain(low).find(|range| range.contains(&ip)).map(|range| range.to_string())
}
