//! The verdict on a packet towards a sandbox.
//!
//! Pass only: the gateway's ARP and neighbour discovery (and DHCP, router advertisements where the document says so); packets of
//! the filter's own sockets; what comes from where the sandbox may send; connections that a source in `inboundFrom` opens; and
//! ICMP errors that quote a packet which may be the sandbox's own. All else is denied.

use super::flow::{self, FlowChange, inbound_key};
use super::remote::Remote;
use super::steps::Steps;
use super::{Tables, Verdict, arp, covered, dhcp, is_gateway, neighbour};
use crate::Reason;
use crate::abi::{FlowState, SandboxConfig, SandboxFlags};
use crate::packet::{Flow, Source, ethertype, icmp4, icmp6, protocol};

/// Judges a frame that is about to reach a sandbox, with the mark that the packet carries, and fills `flow` with what was
/// understood of it.
#[inline(always)]
pub fn decide_inbound<S: Source, T: Steps>(
    frame: &S,
    flow: &mut Flow,
    mark: u32,
    sandbox: &SandboxConfig,
    tables: &T,
) -> Verdict {
    if sandbox.flags & SandboxFlags::SEALED != 0 {
        return Verdict::unasked(sealed(frame, flow, sandbox, tables));
    }
    if let Err(reason) = tables.parse(frame, flow) {
        return Verdict::unasked(reason);
    }
    if let Some(reason) = tables.receiver(frame, flow, sandbox) {
        return Verdict::unasked(reason);
    }
    if let Some(verdict) = of_own_socket(flow, mark, sandbox, tables) {
        return verdict;
    }
    from_remote(frame, flow, sandbox, tables)
}

/// Nothing reaches a sandbox that has ended; the gateway's questions are told apart, which somebody else may answer.
#[inline(always)]
fn sealed<S: Source, T: Steps>(frame: &S, flow: &mut Flow, sandbox: &SandboxConfig, tables: &T) -> Reason {
    let about_link = tables.parse(frame, flow).map_or_else(Some, |()| tables.receiver(frame, flow, sandbox));
    match about_link {
        Some(Reason::GatewayArp | Reason::GatewayNeighbour) => Reason::SealedNeighbour,
        _ => Reason::Sealed,
    }
}

/// The verdict on a packet of one of the filter's own sockets.
#[inline(always)]
pub(super) fn of_own_socket<T: Steps>(flow: &Flow, mark: u32, sandbox: &SandboxConfig, tables: &T) -> Option<Verdict> {
    (sandbox.mark_mask != 0 && mark & sandbox.mark_mask == sandbox.own_mark).then(|| {
        let change = tables.inbound_change(flow, FlowState::MARKED).unwrap_or_default();
        Verdict { change, ..Verdict::unasked(Reason::OwnSocket) }
    })
}

/// Judges what comes from where the sandbox may send, of a connection that somebody may open, or is about the sandbox's own packets.
#[inline(always)]
pub(super) fn from_remote<S: Source, T: Steps>(
    frame: &S,
    flow: &mut Flow,
    sandbox: &SandboxConfig,
    tables: &T,
) -> Verdict {
    let mut listed = tables.remote(&Remote::source(flow));
    if flow::may_open(sandbox, &flow.source)
        && let Some(change) = tables.inbound_change(flow, 0)
    {
        if listed.reason.is_listed() {
            listed.change = change;
        } else if !matches!(change, FlowChange::Touch(state) if state & FlowState::FROM_SANDBOX != 0) {
            return Verdict { reason: Reason::Inbound, change, ..listed };
        }
    }
    if listed.reason.is_listed() {
        return listed;
    }
    if let Some(reason) = tables.error_about_own(frame, flow, sandbox) {
        return Verdict { reason, ..listed };
    }
    Verdict { reason: Reason::InboundDenied, ..listed }
}

/// Whether the sandbox may receive this at all: the verdict on what is about its link, does not come from its gateway or is not for it;
/// `None` for traffic.
#[inline(always)]
pub fn receiver<S: Source>(frame: &S, flow: &mut Flow, sandbox: &SandboxConfig) -> Option<Reason> {
    // Another port of the same bridge is not the gateway, and no neighbour speaks for it.
    if flow.source_mac != sandbox.gateway_mac.bytes() {
        return Some(Reason::InboundDenied);
    }
    if let Some(reason) = link_protocols(frame, flow, sandbox) {
        return Some(reason);
    }
    let to_it = sandbox.flags & SandboxFlags::ANY_SOURCE != 0 || covered(sandbox, &flow.destination);
    (!to_it).then_some(Reason::InboundDenied)
}

/// What a packet of somebody who may open connections does: it belongs to a flow, or opens one with the given state.
#[inline(always)]
pub fn change<T: Tables>(flow: &Flow, state: u32, tables: &T) -> Option<FlowChange> {
    let known = tables.flow(&inbound_key(flow)?);
    if flow::opens(flow) && (known.is_none() || flow.protocol == protocol::TCP) {
        return Some(FlowChange::Open(state));
    }
    known.map(|state| flow::next(flow, state, FlowState::PEER_FIN))
}

/// An ICMP error passes when it quotes a packet of the sandbox that may be on its way: to where the sandbox may send, or of a
/// connection that came in.
#[inline(always)]
pub fn error_about_own<S: Source, T: Steps>(
    frame: &S,
    flow: &Flow,
    inner: &mut Flow,
    sandbox: &SandboxConfig,
    tables: &T,
) -> Option<Reason> {
    if !tables.quoted(frame, flow, inner) || inner.source != flow.destination {
        return None;
    }
    let listed = tables.remote(&Remote { capturable: false, ..Remote::destination(inner) });
    if listed.reason.allows() || listed.reason == Reason::NoPolicy {
        return Some(listed.reason);
    }
    let state = tables.flow(&flow::outbound_key(inner)?)?;
    flow::is_admitted(sandbox, &inner.destination, state).then_some(Reason::Inbound)
}

/// Packets about the link: from the gateway only, and routers' orders (RFC 792, RFC 1256) from nobody.
#[inline(always)]
fn link_protocols<S: Source>(frame: &S, flow: &mut Flow, sandbox: &SandboxConfig) -> Option<Reason> {
    if flow.ethertype == ethertype::ARP {
        return Some(arp::judge_gateway(frame, flow, sandbox));
    }
    if !flow.has_ports {
        return None;
    }
    let allowed = match flow.protocol {
        protocol::UDP => {
            let gateway = dhcp::is_service(flow)? && is_gateway(sandbox, &flow.source);
            (gateway && dhcp::is_on(sandbox)).then_some(Reason::GatewayDhcp)
        }
        protocol::ICMP => match flow.icmp_type() {
            icmp4::REDIRECT | icmp4::ROUTER_ADVERTISEMENT | icmp4::ROUTER_SOLICITATION => None,
            _ => return None,
        },
        protocol::ICMPV6 => match flow.icmp_type() {
            icmp6::NEIGHBOUR_SOLICITATION | icmp6::NEIGHBOUR_ADVERTISEMENT => {
                neighbour::from_gateway(frame, flow, sandbox).then_some(Reason::GatewayNeighbour)
            }
            icmp6::ROUTER_ADVERTISEMENT => {
                let gateway = is_gateway(sandbox, &flow.source) && neighbour::is_whole_from_the_link(flow);
                (gateway && dhcp::is_on(sandbox)).then_some(Reason::GatewayDhcp)
            }
            icmp6::LISTENER_QUERY..=icmp6::LISTENER_DONE
            | icmp6::LISTENER_REPORT_V2
            | icmp6::ROUTER_SOLICITATION
            | icmp6::REDIRECT => None,
            _ => return None,
        },
        _ => return None,
    };
    Some(allowed.unwrap_or(Reason::InboundDenied))
}
