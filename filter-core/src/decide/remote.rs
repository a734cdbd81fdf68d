//! Whom the sandbox may talk to: protected, then allow, then deny, then the default, by one search of the policy's table.
//!
//! The remote address is a packet's destination on the way out and its source on the way in: an answer is what comes from where
//! the sandbox may send.

use super::{Tables, Verdict};
use crate::abi::{Capture, PolicyFlags};
use crate::packet::{Flow, protocol};
use crate::{Address, Reason, protected};

/// The far side of a packet.
#[derive(Clone, Copy)]
pub struct Remote {
    /// Its address.
    pub address: Address,
    /// Its port, where the packet has one.
    pub port: Option<u16>,
    /// IP protocol.
    pub protocol: u8,
    /// Whether the policy's capture applies: on the way out.
    pub capturable: bool,
}

impl Remote {
    /// Where a packet from the sandbox goes.
    #[inline(always)]
    #[must_use]
    pub fn destination(flow: &Flow) -> Remote {
        let port = flow.has_ports.then_some(flow.destination_port);
        Remote { address: flow.destination, port, protocol: flow.protocol, capturable: true }
    }

    /// Where a packet towards the sandbox comes from.
    #[inline(always)]
    #[must_use]
    pub fn source(flow: &Flow) -> Remote {
        let port = flow.has_ports.then_some(flow.source_port);
        Remote { address: flow.source, port, protocol: flow.protocol, capturable: false }
    }

    /// All but the address in one number.
    #[inline(always)]
    #[must_use]
    pub fn word(&self) -> u32 {
        let port = self.port.map_or(0, |port| 1 << 16 | u32::from(port));
        port | u32::from(self.capturable) << 17 | u32::from(self.protocol) << 24
    }

    /// The far side that an address and a [`Self::word`] tell of.
    #[inline(always)]
    #[must_use]
    pub fn from_word(address: Address, word: u32) -> Remote {
        let port = (word & 1 << 16 != 0).then_some(word as u16);
        Remote { address, port, protocol: (word >> 24) as u8, capturable: word & 1 << 17 != 0 }
    }
}

/// Judges a remote address, and the IPv4 addresses inside it.
#[inline(always)]
pub fn judge<T: Tables>(remote: &Remote, tables: &T) -> Verdict {
    let verdict = address(&remote.address, remote, tables);
    if verdict.reason.allows()
        && let Some(inside) = protected::embedded(&remote.address)
    {
        for v4 in inside {
            let inner = address(&Address::v4(v4.to_be_bytes()), remote, tables);
            if inner.reason == Reason::NoPolicy {
                return inner;
            }
            if !inner.reason.allows() {
                return Verdict { reason: Reason::ProtectedEmbedded, ..inner };
            }
        }
    }
    verdict
}

#[inline(always)]
fn address<T: Tables>(address: &Address, remote: &Remote, tables: &T) -> Verdict {
    let Some(value) = tables.policy(address) else {
        return Verdict::unasked(Reason::NoPolicy);
    };
    let verdict = |reason| Verdict { generation: value.generation, ..Verdict::unasked(reason) };
    let nameserver = value.flags & PolicyFlags::NAMESERVER != 0 && is_dns(remote);
    let opened = value.flags & PolicyFlags::OPENED != 0;

    if !nameserver && !opened && protected::covers(address) {
        return verdict(Reason::ProtectedRange);
    }
    if nameserver && value.flags & PolicyFlags::NAMESERVER_ALLOWED != 0 {
        return verdict(Reason::AllowedNameserver);
    }
    let listed = list_reason(value.reason);
    let captured = is_captured(value.capture, remote, listed.is_some());
    if listed.is_none() && !captured {
        return verdict(Reason::AddressDenied);
    }
    if !nameserver && let Some(living) = tables.living(address) {
        let sandbox = living.reason == Reason::ProtectedSandbox as u32;
        if sandbox || !opened {
            return verdict(living_reason(living.reason));
        }
    }
    verdict(match listed {
        Some(listed) if !captured => listed,
        _ => Reason::SidecarUnavailable,
    })
}

/// Port 53 over UDP or TCP, where the ports are known.
#[inline(always)]
fn is_dns(remote: &Remote) -> bool {
    const DOMAIN: u16 = 53;
    remote.port == Some(DOMAIN) && matches!(remote.protocol, protocol::UDP | protocol::TCP)
}

/// Whether the policy's capture is about a packet that the lists allow or deny.
#[inline(always)]
pub(super) fn is_captured(capture: u8, remote: &Remote, allowed: bool) -> bool {
    let tcp = remote.capturable && remote.protocol == protocol::TCP;
    let web = matches!(remote.port, Some(80 | 443));
    let wanted = match (allowed, web) {
        (true, true) => Capture::ALLOWED_WEB.and(Capture::ALLOWED_TCP),
        (true, false) => Capture::ALLOWED_TCP,
        (false, true) => Capture::DENIED_WEB,
        (false, false) => Capture::NONE,
    };
    tcp && wanted.meets(Capture(capture))
}

#[inline(always)]
pub(super) fn list_reason(number: u8) -> Option<Reason> {
    const BY_LIST: u8 = Reason::AllowedByList as u8;
    const BY_DEFAULT: u8 = Reason::AllowedByDefault as u8;
    match number {
        BY_LIST => Some(Reason::AllowedByList),
        BY_DEFAULT => Some(Reason::AllowedByDefault),
        _ => None,
    }
}

#[inline(always)]
fn living_reason(number: u32) -> Reason {
    const HOST: u32 = Reason::ProtectedHost as u32;
    const SANDBOX: u32 = Reason::ProtectedSandbox as u32;
    match number {
        HOST => Reason::ProtectedHost,
        SANDBOX => Reason::ProtectedSandbox,
        _ => Reason::ProtectedLink,
    }
}
