//! Connections that came in, and the packets that belong to them.
//!
//! A flow is opened by a TCP SYN without ACK, a UDP packet or an echo request towards the sandbox, from one of the filter's own
//! sockets or from a source in `inboundFrom`: never by a reset, an ICMP error, an answer, or anything from the sandbox. It is
//! judged by today's `inboundFrom` with every packet.
//!
//! What the lists allow as well is followed all the same, so that a connection that came in goes on when they forbid its peer later.

use super::steps::Steps;
use super::{Tables, any_covers};
use crate::Address;
use crate::abi::{FlowKey, FlowState, SandboxConfig};
use crate::packet::{Flow, Source, icmp4, icmp6, protocol, tcp_flags};

/// What a packet does to the flow table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowChange {
    /// Nothing.
    #[default]
    None,
    /// Opens a flow with this state; when the table is full, only what the lists allow passes.
    Open(u32),
    /// Keeps a flow alive, with this state.
    Touch(u32),
    /// Ends a flow.
    Close,
}

impl FlowChange {
    /// In one number; 0 for no change at all, and that for an answer which changes nothing is not 0.
    #[inline(always)]
    #[must_use]
    pub const fn word(change: Option<FlowChange>) -> u64 {
        match change {
            None => 0,
            Some(FlowChange::None) => 1 << 32,
            Some(FlowChange::Open(state)) => 2 << 32 | state as u64,
            Some(FlowChange::Touch(state)) => 3 << 32 | state as u64,
            Some(FlowChange::Close) => 4 << 32,
        }
    }

    /// What [`Self::word`] was made of.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Option<FlowChange> {
        let state = word as u32;
        match word >> 32 {
            1 => Some(FlowChange::None),
            2 => Some(FlowChange::Open(state)),
            3 => Some(FlowChange::Touch(state)),
            4 => Some(FlowChange::Close),
            _ => None,
        }
    }
}

/// Key of the flow that a packet towards the sandbox belongs to, or would open.
#[inline(always)]
#[must_use]
pub fn inbound_key(flow: &Flow) -> Option<FlowKey> {
    let key = FlowKey { peer: flow.source, local: flow.destination, protocol: flow.protocol, ..FlowKey::default() };
    match flow.protocol {
        protocol::TCP | protocol::UDP if flow.has_ports => {
            Some(FlowKey { peer_port: flow.source_port, local_port: flow.destination_port, ..key })
        }
        protocol::ICMP | protocol::ICMPV6 if is_echo(flow, icmp4::ECHO_REQUEST, icmp6::ECHO_REQUEST) => {
            Some(FlowKey { peer_port: flow.source_port, ..key })
        }
        _ => None,
    }
}

/// Key of the flow that a packet from the sandbox would answer.
#[inline(always)]
#[must_use]
pub fn outbound_key(flow: &Flow) -> Option<FlowKey> {
    let key = FlowKey { peer: flow.destination, local: flow.source, protocol: flow.protocol, ..FlowKey::default() };
    match flow.protocol {
        protocol::TCP | protocol::UDP if flow.has_ports => {
            Some(FlowKey { peer_port: flow.destination_port, local_port: flow.source_port, ..key })
        }
        protocol::ICMP | protocol::ICMPV6 if is_echo(flow, icmp4::ECHO_REPLY, icmp6::ECHO_REPLY) => {
            Some(FlowKey { peer_port: flow.source_port, ..key })
        }
        _ => None,
    }
}

/// Whether a packet towards the sandbox opens a flow.
#[inline(always)]
pub(super) fn opens(flow: &Flow) -> bool {
    const OPENING: u8 = tcp_flags::SYN | tcp_flags::ACK | tcp_flags::RST | tcp_flags::FIN;
    match flow.protocol {
        protocol::TCP => flow.has_ports && flow.tcp_flags & OPENING == tcp_flags::SYN,
        protocol::UDP => flow.has_ports,
        _ => is_echo(flow, icmp4::ECHO_REQUEST, icmp6::ECHO_REQUEST),
    }
}

/// The change by which a packet from the sandbox is an answer to a connection that came in, or an error about one.
#[inline(always)]
pub fn answer<S: Source, T: Steps>(
    frame: &S,
    flow: &Flow,
    inner: &mut Flow,
    sandbox: &SandboxConfig,
    tables: &T,
) -> Option<FlowChange> {
    if tables.quoted(frame, flow, inner) {
        let about_peer = inner.source == flow.destination && inner.destination == flow.source;
        let state = tables.flow(&inbound_key(inner)?)?;
        return (about_peer && is_admitted(sandbox, &inner.source, state)).then_some(FlowChange::None);
    }
    let state = tables.flow(&outbound_key(flow)?)?;
    is_admitted(sandbox, &flow.destination, state).then(|| next(flow, state, FlowState::SANDBOX_FIN))
}

/// What a packet that the lists allow does to the flow that it may belong to. A datagram to somebody who may open connections is
/// noted, because the answer to it must not pass for an opening.
#[inline(always)]
pub fn follow<T: Tables>(flow: &Flow, sandbox: &SandboxConfig, tables: &T) -> FlowChange {
    let ends = flow.protocol == protocol::TCP && flow.tcp_flags & (tcp_flags::FIN | tcp_flags::RST) != 0;
    let keeps = flow.protocol != protocol::TCP && may_open(sandbox, &flow.destination);
    if !ends && !keeps {
        return FlowChange::None;
    }
    let Some(key) = outbound_key(flow) else {
        return FlowChange::None;
    };
    match tables.flow(&key) {
        Some(state) => next(flow, state, FlowState::SANDBOX_FIN),
        None if flow.protocol == protocol::UDP => FlowChange::Open(FlowState::FROM_SANDBOX),
        None => FlowChange::None,
    }
}

/// Whether a flow of this peer may still be: its opener's right has not been taken away.
#[inline(always)]
pub(super) fn is_admitted(sandbox: &SandboxConfig, peer: &Address, state: u32) -> bool {
    state & FlowState::FROM_SANDBOX == 0 && (state & FlowState::MARKED != 0 || may_open(sandbox, peer))
}

/// Whether `inboundFrom` covers a source.
#[inline(always)]
pub(super) fn may_open(sandbox: &SandboxConfig, source: &Address) -> bool {
    any_covers(&sandbox.inbound, sandbox.inbound_count, source)
}

/// What a packet makes of the flow that it belongs to; `fin` is the bit of its sender.
#[inline(always)]
pub(super) fn next(flow: &Flow, state: u32, fin: u32) -> FlowChange {
    if flow.protocol != protocol::TCP {
        return FlowChange::Touch(state);
    }
    if flow.tcp_flags & tcp_flags::RST != 0 {
        return FlowChange::Close;
    }
    let ends = if flow.tcp_flags & tcp_flags::FIN != 0 { fin } else { 0 };
    FlowChange::Touch(state | ends)
}

#[inline(always)]
fn is_echo(flow: &Flow, v4: u8, v6: u8) -> bool {
    flow.has_ports
        && (flow.protocol == protocol::ICMP && flow.icmp_type() == v4
            || flow.protocol == protocol::ICMPV6 && flow.icmp_type() == v6)
}
