//! The verdict on what sockets of a cgroup send and receive: no link, no source address of its own, and the host's loopback.
//!
//! The packets are those of [`decide`](super::decide()) without their Ethernet header. Loopback is between sockets of the same cgroup, and
//! so is judged by whose the far socket is; the lists have no say.

use super::inbound;
use super::remote::Remote;
use super::steps::Steps;
use super::{Far, Verdict};
use crate::abi::{SandboxConfig, SandboxFlags};
use crate::packet::{Flow, Source, icmp4, icmp6, protocol};
use crate::{Address, Reason};

/// Judges a packet that a socket of the cgroup sends, and fills `flow` with what was understood of it.
#[inline(always)]
pub fn decide_sent<S: Source, T: Steps>(packet: &S, flow: &mut Flow, sandbox: &SandboxConfig, tables: &T) -> Verdict {
    if let Some(verdict) = understood(packet, flow, sandbox, tables) {
        return verdict;
    }
    if is_loopback(&flow.destination) {
        return loopback(tables.is_among_own(flow, Far::Destination));
    }
    let mut verdict = tables.remote(&Remote::destination(flow));
    if verdict.reason.is_listed() {
        verdict.change = tables.follow(flow, sandbox);
    } else if let Some(change) = tables.answer(packet, flow, sandbox) {
        verdict = Verdict { reason: Reason::Answer, change, ..verdict };
    }
    verdict
}

/// Judges a packet that is about to reach a socket of the cgroup, with the mark that it carries.
#[inline(always)]
pub fn decide_received<S: Source, T: Steps>(
    packet: &S,
    flow: &mut Flow,
    mark: u32,
    sandbox: &SandboxConfig,
    tables: &T,
) -> Verdict {
    if let Some(verdict) = understood(packet, flow, sandbox, tables) {
        return verdict;
    }
    if let Some(verdict) = inbound::of_own_socket(flow, mark, sandbox, tables) {
        return verdict;
    }
    if is_loopback(&flow.source) {
        return loopback(tables.is_among_own(flow, Far::Source));
    }
    inbound::from_remote(packet, flow, sandbox, tables)
}

/// Judges where a socket of the cgroup is about to send, or to connect to. Whether a socket at loopback is one of the cgroup's own is for
/// the caller to find out.
#[inline(always)]
pub fn decide_destination<T: Steps>(remote: &Remote, sandbox: &SandboxConfig, tables: &T) -> Verdict {
    if sandbox.flags & SandboxFlags::SEALED != 0 {
        return Verdict::unasked(Reason::Sealed);
    }
    if is_loopback(&remote.address) {
        return Verdict::unasked(Reason::OwnLoopback);
    }
    tables.remote(remote)
}

/// The verdict on what is sealed, malformed, or no traffic; `None` otherwise.
#[inline(always)]
fn understood<S: Source, T: Steps>(
    packet: &S,
    flow: &mut Flow,
    sandbox: &SandboxConfig,
    tables: &T,
) -> Option<Verdict> {
    if sandbox.flags & SandboxFlags::SEALED != 0 {
        return Some(Verdict::unasked(Reason::Sealed));
    }
    if let Err(reason) = tables.parse_packet(packet, flow) {
        return Some(Verdict::unasked(reason));
    }
    // What a socket may say about the link by raw packets is for nobody.
    let is_about_link = flow.has_ports
        && match flow.protocol {
            protocol::ICMP => !matches!(
                flow.icmp_type(),
                icmp4::ECHO_REQUEST
                    | icmp4::ECHO_REPLY
                    | icmp4::UNREACHABLE
                    | icmp4::TIME_EXCEEDED
                    | icmp4::PARAMETER_PROBLEM
            ),
            protocol::ICMPV6 => !matches!(
                flow.icmp_type(),
                icmp6::FIRST_ERROR..=icmp6::LAST_ERROR | icmp6::ECHO_REQUEST | icmp6::ECHO_REPLY
            ),
            _ => false,
        };
    is_about_link.then_some(Verdict::unasked(Reason::IcmpType))
}

#[inline(always)]
fn loopback(is_own: bool) -> Verdict {
    Verdict::unasked(if is_own { Reason::OwnLoopback } else { Reason::ProtectedRange })
}

/// `127.0.0.0/8` (RFC 1122, section 3.2.1.3) and `::1` (RFC 4291, section 2.5.3).
#[inline(always)]
#[must_use]
pub fn is_loopback(address: &Address) -> bool {
    let (high, low) = address.words();
    if address.is_v4() { (low as u32) >> 24 == 127 } else { high == 0 && low == 1 }
}
