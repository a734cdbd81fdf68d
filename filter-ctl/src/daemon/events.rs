//! Deny events, from the kernel's ring to whoever watches.

use super::news::News;
use super::node::{Heard, Names};
use crate::api::DenyEvent;
use filter_core::abi::{Event, EventFlags};
use filter_core::packet::{ethertype, protocol};
use filter_core::{Address, Reason};
use filter_dataplane::Events;
use filter_sidecar::protocol::{Denied, Told};
use nix::time::{ClockId, clock_gettime};
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

/// Denied resolvers of a sandbox that are remembered.
const RESOLVERS: usize = 8;

/// Starts reading the kernel's events, and tells them. Slots in which a connection that came in found no room are told to `full`.
pub(super) fn pump(mut kernel: Events, names: Names, news: News, full: mpsc::Sender<u32>) {
    tokio::spawn(async move {
        loop {
            let drained = kernel.drain(|event| {
                if event.reason == Reason::FlowTableFull.number() {
                    // Whoever comes next says so again.
                    full.try_send(event.slot).ok();
                }
                let of = (event.slot, event.incarnation);
                let resolver = {
                    // Held until the denial is kept: who ends meanwhile is forgotten after that.
                    let names = names.read().expect("no panic under the lock");
                    let Some(Heard { id, resolvers, .. }) = names.get(&of) else { return };
                    news.denied(of, told(id.clone(), &event));
                    let has_room = resolvers.len() < RESOLVERS;
                    resolver(&event).filter(|resolver| has_room && !resolvers.contains(resolver))
                };
                if let Some(resolver) = resolver
                    && let Some(heard) = names.write().expect("no panic under the lock").get_mut(&of)
                {
                    heard.resolvers.insert(resolver);
                }
            });
            if let Err(error) = drained.await {
                tracing::error!(%error, "deny events are not read any more");
                return;
            }
        }
    });
}

/// The resolver that a denied packet from the sandbox was for.
fn resolver(event: &Event) -> Option<IpAddr> {
    const DOMAIN: u16 = 53;
    let outward = !matches!(Reason::from_number(event.reason), Some(Reason::InboundDenied | Reason::FlowTableFull));
    let asked = event.flags & EventFlags::PORTS != 0 && event.destination_port == DOMAIN;
    let by = matches!(event.protocol, protocol::UDP | protocol::TCP);
    (outward && asked && by).then(|| IpAddr::from(event.destination))
}

fn told(id: String, event: &Event) -> DenyEvent {
    let address = |address: Address| (event.flags & EventFlags::ADDRESSES != 0).then(|| IpAddr::from(address));
    let is_icmp = matches!(event.protocol, protocol::ICMP | protocol::ICMPV6);
    let port = |port: u16| (event.flags & EventFlags::PORTS != 0 && !is_icmp).then_some(port);
    DenyEvent {
        time_ms: wall_ms(event.ktime),
        id,
        reason: event.reason,
        reason_name: Reason::from_number(event.reason).map_or("unknown", Reason::name).to_owned(),
        generation: event.generation,
        protocol: protocol_name(event),
        source: address(event.source),
        destination: address(event.destination),
        source_port: port(event.source_port),
        destination_port: port(event.destination_port),
        name: None,
        length: event.length,
    }
}

/// Tells what the sidecar denies as well.
pub(super) fn follow(mut sidecar: broadcast::Receiver<Denied>, names: Names, news: News) {
    tokio::spawn(async move {
        loop {
            let Denied { slot, generation, reason, count, told } = match sidecar.recv().await {
                Ok(denied) => denied,
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "denials of the sidecar were not told");
                    continue;
                }
                Err(RecvError::Closed) => return,
            };
            let mut known = names.write().expect("no panic under the lock");
            let Some((of, heard)) = known.iter_mut().find(|((of, _), _)| *of == slot) else { continue };
            *heard.refused.entry(reason).or_default() += count;
            let (id, Some(Told { port, name })) = (heard.id.clone(), told) else { continue };
            let event = DenyEvent {
                time_ms: u64::try_from(read(ClockId::CLOCK_REALTIME).as_millis()).unwrap_or(u64::MAX),
                id,
                reason,
                reason_name: Reason::from_number(reason).map_or("unknown", Reason::name).to_owned(),
                generation,
                protocol: "tcp".to_owned(),
                source: None,
                destination: None,
                source_port: None,
                destination_port: Some(port),
                name: (!name.is_empty()).then_some(name),
                length: 0,
            };
            news.denied(*of, event);
        }
    });
}

fn protocol_name(event: &Event) -> String {
    match (event.ethertype, event.protocol) {
        (ethertype::ARP, _) => "arp".to_owned(),
        (ethertype::IPV4 | ethertype::IPV6, protocol::TCP) => "tcp".to_owned(),
        (ethertype::IPV4 | ethertype::IPV6, protocol::UDP) => "udp".to_owned(),
        (ethertype::IPV4, protocol::ICMP) => "icmp".to_owned(),
        (ethertype::IPV6, protocol::ICMPV6) => "icmpv6".to_owned(),
        (ethertype::IPV4 | ethertype::IPV6, other) => format!("ip {other}"),
        (other, _) => format!("ethertype {other:#06x}"),
    }
}

fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}

/// Milliseconds since 1970 of a moment on the monotonic clock.
pub(super) fn wall_ms(ktime: u64) -> u64 {
    let age = read(ClockId::CLOCK_MONOTONIC).saturating_sub(Duration::from_nanos(ktime));
    u64::try_from(read(ClockId::CLOCK_REALTIME).saturating_sub(age).as_millis()).unwrap_or(u64::MAX)
}
