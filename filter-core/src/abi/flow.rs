//! Connections that came in: what their answers are recognised by.

use crate::Address;

/// Key of a sandbox's flow table. The table belongs to one attachment, so the key does not name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// Who opened the connection.
    pub peer: Address,
    /// The sandbox's address.
    pub local: Address,
    /// The peer's port; the identifier of an echo.
    pub peer_port: u16,
    /// The sandbox's port; 0 for an echo.
    pub local_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 11],
}

/// Value of a sandbox's flow table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowValue {
    /// When it ends unless a packet comes, nanoseconds of the monotonic clock.
    pub expires: u64,
    /// Bits of [`FlowState`].
    pub state: u32,
    /// Zero.
    pub pad: u32,
}

/// Bits of [`FlowValue::state`].
pub struct FlowState;

impl FlowState {
    /// The peer has sent its FIN.
    pub const PEER_FIN: u32 = 1 << 0;
    /// The sandbox has sent its FIN.
    pub const SANDBOX_FIN: u32 = 1 << 1;
    /// A socket of the host with the filter's mark has opened it; else a source in `inboundFrom` has.
    pub const MARKED: u32 = 1 << 2;
    /// The sandbox has opened it, by a datagram to somebody in `inboundFrom`: kept so that the peer's answers are told from what
    /// opens a connection. It never counts as one that came in.
    pub const FROM_SANDBOX: u32 = 1 << 3;
    /// Both have sent their FIN.
    pub const CLOSED: u32 = Self::PEER_FIN | Self::SANDBOX_FIN;
}

impl FlowValue {
    /// How long a flow may be idle, in nanoseconds. TCP keep-alives come within two hours (RFC 9293, section 3.8.4).
    #[inline(always)]
    #[must_use]
    pub const fn idle(protocol: u8, state: u32) -> u64 {
        const SECOND: u64 = 1_000_000_000;
        match protocol {
            _ if state & FlowState::CLOSED == FlowState::CLOSED => 10 * SECOND,
            _ if state & FlowState::FROM_SANDBOX != 0 => 30 * SECOND,
            crate::packet::protocol::TCP => 7_500 * SECOND,
            crate::packet::protocol::UDP => 180 * SECOND,
            _ => 30 * SECOND,
        }
    }
}

// The hash takes every byte of a key: none may be padding that nobody sets.
const _: () = assert!(size_of::<FlowKey>() == 48 && core::mem::offset_of!(FlowKey, pad) + 11 == 48);
const _: () = assert!(size_of::<FlowValue>() == 16);
