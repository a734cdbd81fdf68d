//! Connections that go straight out, for who wants each told once it has ended.

use crate::Address;
use crate::abi::{FlowKey, FlowState};
use crate::packet::{Flow, protocol, tcp_flags};

/// Most connections that are accounted at a time, of all sandboxes.
pub const CONNECTIONS: u32 = 65_536;

/// Key of the map of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ConnectionKey {
    /// Whom the sandbox speaks with.
    pub peer: Address,
    /// The sandbox's address.
    pub local: Address,
    /// The peer's port.
    pub peer_port: u16,
    /// The sandbox's port.
    pub local_port: u16,
    /// TCP or UDP.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
    /// Where the sandbox is attached.
    pub slot: u32,
    /// Which attachment that is.
    pub incarnation: u32,
}

/// Value of the map of connections. Each direction writes its own fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ConnectionValue {
    /// When it began, nanoseconds of the monotonic clock.
    pub began: u64,
    /// When its last packet came, on the same clock.
    pub last: u64,
    /// Bytes of frames from the sandbox.
    pub sent: u64,
    /// Bytes of frames towards it.
    pub received: u64,
    /// The policy that let it begin.
    pub generation: u32,
    /// One of [`ConnectionEnd`], as the sandbox has ended it.
    pub sandbox_end: u32,
    /// One of [`ConnectionEnd`], as the peer has ended it.
    pub peer_end: u32,
    /// Zero.
    pub pad: u32,
}

/// How one side has ended a connection; a higher one counts.
pub struct ConnectionEnd;

impl ConnectionEnd {
    /// Not at all.
    pub const OPEN: u32 = 0;
    /// By a FIN: the other side may go on.
    pub const FIN: u32 = 1;
    /// By a reset, or because a packet of it was denied.
    pub const CUT: u32 = 2;
}

impl ConnectionKey {
    /// The connection of a packet from the sandbox.
    #[inline(always)]
    #[must_use]
    pub fn outbound(flow: &Flow, slot: u32, incarnation: u32) -> Option<ConnectionKey> {
        let (local, peer) = ((flow.source, flow.source_port), (flow.destination, flow.destination_port));
        ConnectionKey::new(flow, peer, local, slot, incarnation)
    }

    /// The connection of a packet towards it.
    #[inline(always)]
    #[must_use]
    pub fn inbound(flow: &Flow, slot: u32, incarnation: u32) -> Option<ConnectionKey> {
        let (peer, local) = ((flow.source, flow.source_port), (flow.destination, flow.destination_port));
        ConnectionKey::new(flow, peer, local, slot, incarnation)
    }

    #[inline(always)]
    fn new(
        flow: &Flow,
        (peer, peer_port): (Address, u16),
        (local, local_port): (Address, u16),
        slot: u32,
        incarnation: u32,
    ) -> Option<ConnectionKey> {
        let has_ports = flow.has_ports && matches!(flow.protocol, protocol::TCP | protocol::UDP);
        let key = ConnectionKey { peer, local, peer_port, local_port, slot, incarnation, ..ConnectionKey::default() };
        has_ports.then_some(ConnectionKey { protocol: flow.protocol, ..key })
    }
}

impl ConnectionEnd {
    /// What a packet that passes makes of how its sender has ended the connection.
    #[inline(always)]
    #[must_use]
    pub const fn after(before: u32, flow: &Flow) -> u32 {
        if flow.protocol != protocol::TCP {
            ConnectionEnd::OPEN
        } else if flow.tcp_flags & tcp_flags::RST != 0 {
            ConnectionEnd::CUT
        } else if flow.tcp_flags & tcp_flags::FIN != 0 && before == ConnectionEnd::OPEN {
            ConnectionEnd::FIN
        } else if opens(flow) {
            ConnectionEnd::OPEN
        } else {
            before
        }
    }
}

impl ConnectionValue {
    /// Whether a packet of the sandbox begins a connection where none is known. One in the middle does: nobody gets out of the account by an end
    /// that the peer does not believe in. An answer to a connection that came in does not; `came_in` is the state of that, by [`FlowState`].
    #[inline(always)]
    #[must_use]
    pub const fn is_begun_by(flow: &Flow, came_in: Option<u32>) -> bool {
        let is_answer = matches!(came_in, Some(state) if state & FlowState::FROM_SANDBOX == 0) && !opens(flow);
        !is_answer
            && (flow.protocol == protocol::UDP
                || flow.protocol == protocol::TCP && flow.tcp_flags & tcp_flags::RST == 0)
    }

    /// Whether a packet of the sandbox makes a connection go on that both sides have ended: the same ports are used again.
    #[inline(always)]
    #[must_use]
    pub const fn is_begun_again_by(flow: &Flow) -> bool {
        opens(flow)
    }
}

/// Whether a packet asks for a connection.
#[inline(always)]
const fn opens(flow: &Flow) -> bool {
    const ALL: u8 = tcp_flags::SYN | tcp_flags::ACK | tcp_flags::RST;
    flow.protocol == protocol::TCP && flow.tcp_flags & ALL == tcp_flags::SYN
}

impl ConnectionValue {
    /// Whether a connection has ended at a moment: both sides have ended it or one has cut it, a second ago at least, for the last packets
    /// come in any order; or it is silent for longer than any that goes on (TCP keep-alives come within two hours, RFC 9293, section 3.8.4).
    #[must_use]
    pub fn has_ended(&self, protocol: u8, now: u64) -> bool {
        const SECOND: u64 = 1_000_000_000;
        const CUT: u32 = ConnectionEnd::CUT;
        let is_over = self.sandbox_end == CUT || self.peer_end == CUT || self.sandbox_end & self.peer_end != 0;
        let most = match protocol {
            _ if is_over => SECOND,
            protocol::TCP if self.received > 0 => 7_500 * SECOND,
            // Nobody answers any more: the longest that Linux tries to connect by default.
            protocol::TCP => 180 * SECOND,
            _ => 30 * SECOND,
        };
        now.saturating_sub(self.last) >= most
    }
}

// The hash takes every byte of a key: none may be padding that nobody sets.
const _: () = assert!(size_of::<ConnectionKey>() == size_of::<FlowKey>());
const _: () = assert!(
    core::mem::offset_of!(ConnectionKey, slot) == 40 && core::mem::offset_of!(ConnectionKey, incarnation) == 44
);
const _: () = assert!(size_of::<ConnectionValue>() == 48);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn packet(protocol: u8, tcp_flags: u8) -> Flow {
        let (source, destination) = (Address::v4([10, 0, 0, 2]), Address::v4([203, 0, 113, 1]));
        let ports = Flow { has_ports: true, source_port: 40_000, destination_port: 443, ..Flow::default() };
        Flow { source, destination, protocol, tcp_flags, ..ports }
    }

    #[test]
    fn both_directions_have_one_key() {
        let out = packet(protocol::TCP, 0);
        let (source, destination) = (out.destination, out.source);
        let back = Flow { source, destination, source_port: 443, destination_port: 40_000, ..out };
        let key = ConnectionKey::outbound(&out, 7, 9);
        assert!(key.is_some() && key == ConnectionKey::inbound(&back, 7, 9));
        assert_ne!(key, ConnectionKey::outbound(&out, 7, 10));
        assert_eq!(ConnectionKey::outbound(&packet(protocol::ICMP, 0), 7, 9), None);
        assert_eq!(ConnectionKey::outbound(&Flow { has_ports: false, ..out }, 7, 9), None);
    }

    #[test]
    fn all_but_a_reset_begins_and_a_syn_begins_again() {
        let begun = |packet| (ConnectionValue::is_begun_by(&packet, None), ConnectionValue::is_begun_again_by(&packet));
        assert_eq!(begun(packet(protocol::UDP, 0)), (true, false));
        assert_eq!(begun(packet(protocol::TCP, tcp_flags::SYN)), (true, true));
        assert_eq!(begun(packet(protocol::TCP, tcp_flags::SYN | tcp_flags::ACK)), (true, false));
        assert_eq!(begun(packet(protocol::TCP, tcp_flags::ACK)), (true, false));
        assert_eq!(begun(packet(protocol::TCP, tcp_flags::RST | tcp_flags::SYN)), (false, false));
        assert_eq!(begun(packet(protocol::ICMP, 0)), (false, false));
    }

    #[test]
    fn an_answer_to_who_came_in_begins_nothing() {
        let begun = |packet, state| ConnectionValue::is_begun_by(&packet, Some(state));
        let answer = packet(protocol::TCP, tcp_flags::SYN | tcp_flags::ACK);
        for state in [0, FlowState::MARKED, FlowState::PEER_FIN] {
            assert!(!begun(answer, state) && !begun(packet(protocol::TCP, tcp_flags::ACK), state), "{state}");
            assert!(!begun(packet(protocol::UDP, 0), state), "{state}");
        }
        assert!(begun(packet(protocol::UDP, 0), FlowState::FROM_SANDBOX), "the sandbox's own");
        assert!(begun(packet(protocol::TCP, tcp_flags::SYN), 0), "the same ports, the other way");
    }

    #[test]
    fn what_ends_a_connection() {
        let after = |before, flags| ConnectionEnd::after(before, &packet(protocol::TCP, flags));
        assert_eq!(after(ConnectionEnd::OPEN, tcp_flags::ACK), ConnectionEnd::OPEN);
        assert_eq!(after(ConnectionEnd::OPEN, tcp_flags::FIN | tcp_flags::ACK), ConnectionEnd::FIN);
        assert_eq!(after(ConnectionEnd::FIN, tcp_flags::ACK), ConnectionEnd::FIN);
        assert_eq!(after(ConnectionEnd::FIN, tcp_flags::RST), ConnectionEnd::CUT);
        assert_eq!(after(ConnectionEnd::CUT, tcp_flags::FIN), ConnectionEnd::CUT);
        assert_eq!(after(ConnectionEnd::CUT, tcp_flags::SYN), ConnectionEnd::OPEN, "the same ports again");
        let (open, fin, cut) = (ConnectionEnd::OPEN, ConnectionEnd::FIN, ConnectionEnd::CUT);
        for (sandbox_end, peer_end, received, protocol, silent, ended) in [
            (open, open, 1, protocol::TCP, 7_499, false),
            (open, open, 1, protocol::TCP, 7_500, true),
            (open, open, 0, protocol::TCP, 180, true),
            (fin, open, 1, protocol::TCP, 7_499, false),
            (fin, fin, 1, protocol::TCP, 0, false),
            (fin, fin, 1, protocol::TCP, 1, true),
            (cut, open, 1, protocol::TCP, 1, true),
            (open, cut, 0, protocol::TCP, 1, true),
            (open, open, 1, protocol::UDP, 29, false),
            (open, open, 1, protocol::UDP, 30, true),
        ] {
            let value = ConnectionValue { last: SECOND, sandbox_end, peer_end, received, ..ConnectionValue::default() };
            assert_eq!(value.has_ended(protocol, SECOND + silent * SECOND), ended, "{value:?} {silent}");
        }
    }
}
