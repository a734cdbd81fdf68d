//! The verdict on a packet from or towards a sandbox.
//!
//! Two pure functions of the frame, the attachment's configuration and the tables. From the sandbox ([`decide`]) the order is:
//! sealed, well formed, its own MAC and addresses, neighbour protocols with the gateway, protected and policy, an answer to a
//! connection that came in, destination MAC. Towards the sandbox it is that of [`inbound`]. Whatever no line allows is denied
//! with the reason of the first line that refused.

mod arp;
mod dhcp;
pub mod flow;
pub mod inbound;
mod link;
mod neighbour;
pub mod plain;
pub mod remote;
pub mod socket;
pub mod steps;

use crate::abi::{FlowKey, LivingValue, PolicyValue, Prefix, SandboxConfig, SandboxFlags};
use crate::packet::{Flow, Fragment, Source, ethertype, icmp4, icmp6, protocol};
use crate::{Address, Reason};
use flow::FlowChange;
use remote::Remote;
use steps::Steps;

/// The address tables of a sandbox and of its namespace.
pub trait Tables {
    /// Longest match in the sandbox's policy; `None` when there is no policy.
    fn policy(&self, address: &Address) -> Option<PolicyValue>;

    /// The living protected prefix that an address is in: the host's own address before a sandbox's before a network of the host.
    fn living(&self, address: &Address) -> Option<LivingValue>;

    /// State of a connection that came in, unless it has ended or been idle for too long.
    fn flow(&self, key: &FlowKey) -> Option<u32>;

    /// Whether the socket of this host that a packet goes to, or comes from, is of the same cgroup. Asked for cgroups only.
    #[inline(always)]
    fn is_among_own(&self, _flow: &Flow, _far: Far) -> bool {
        false
    }
}

/// Which end of a packet is the far one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Far {
    /// Where it goes to.
    Destination,
    /// Where it comes from.
    Source,
}

/// What happens to a packet, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    /// Why; tells also whether the packet passes.
    pub reason: Reason,
    /// Generation of the policy that judged, or 0 when none was asked.
    pub generation: u32,
    /// What the packet does to the sandbox's flow table.
    pub change: FlowChange,
}

impl Verdict {
    /// Reason and generation in one number.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        (self.generation as u64) << 32 | self.reason as u64
    }

    /// The verdict of a [`Self::word`]; one that is none denies.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Verdict {
        match Reason::from_number(word as u8) {
            Some(reason) => Verdict { reason, generation: (word >> 32) as u32, change: FlowChange::None },
            None => Verdict::unasked(Reason::NoPolicy),
        }
    }

    /// A verdict that no policy was asked for.
    #[inline(always)]
    pub const fn unasked(reason: Reason) -> Verdict {
        Verdict { reason, generation: 0, change: FlowChange::None }
    }
}

/// Judges a frame that a sandbox sent, and fills `flow` with what was understood of it.
#[inline(always)]
pub fn decide<S: Source, T: Steps>(frame: &S, flow: &mut Flow, sandbox: &SandboxConfig, tables: &T) -> Verdict {
    if sandbox.flags & SandboxFlags::SEALED != 0 {
        return Verdict::unasked(sealed(frame, flow, sandbox, tables));
    }
    if let Err(reason) = tables.parse(frame, flow) {
        return Verdict::unasked(reason);
    }
    if let Some(reason) = tables.sender(frame, flow, sandbox) {
        return Verdict::unasked(reason);
    }
    let mut verdict = tables.remote(&Remote::destination(flow));
    if verdict.reason.is_listed() {
        verdict.change = tables.follow(flow, sandbox);
    } else if let Some(change) = tables.answer(frame, flow, sandbox) {
        verdict = Verdict { reason: Reason::Answer, change, ..verdict };
    }
    let may_go_on = verdict.reason.allows() || matches!(verdict.reason, Reason::SidecarUnavailable);
    if may_go_on && flow.destination_mac != sandbox.gateway_mac.bytes() {
        return Verdict { reason: Reason::DestinationMac, change: FlowChange::None, ..verdict };
    }
    verdict
}

/// Nothing leaves a sandbox that has ended but what tells its gateway alone of its MAC address: the host, which may still be ending
/// connections, would otherwise tell others that it is not to be found.
#[inline(always)]
fn sealed<S: Source, T: Steps>(frame: &S, flow: &mut Flow, sandbox: &SandboxConfig, tables: &T) -> Reason {
    let about_link = tables.parse(frame, flow).map_or_else(Some, |()| tables.sender(frame, flow, sandbox));
    let to_gateway = flow.destination_mac == sandbox.gateway_mac.bytes();
    match about_link {
        Some(reason @ (Reason::GatewayArp | Reason::GatewayNeighbour)) if to_gateway => reason,
        _ => Reason::Sealed,
    }
}

/// Whether the sandbox may send from the packet's source MAC and IP address. A denial that comes before this check may be
/// answered only then.
#[inline(always)]
#[must_use]
pub fn is_honest(flow: &Flow, sandbox: &SandboxConfig) -> bool {
    flow.has_addresses && link::sends_from(flow, sandbox) && owns(sandbox, &flow.source)
}

/// Whether the sandbox may send this at all: the verdict on what is about its link or is not sent as itself, `None` for honest
/// traffic.
#[inline(always)]
pub fn sender<S: Source>(frame: &S, flow: &mut Flow, sandbox: &SandboxConfig) -> Option<Reason> {
    if !link::sends_from(flow, sandbox) {
        return Some(Reason::SourceMac);
    }
    if let Some(reason) = link_protocols(frame, flow, sandbox) {
        return Some(reason);
    }
    (!owns(sandbox, &flow.source)).then_some(Reason::SourceAddress)
}

/// Packets that are about the link and not traffic: ARP, neighbour discovery, DHCP, and what only routers and group members send.
#[inline(always)]
fn link_protocols<S: Source>(frame: &S, flow: &mut Flow, sandbox: &SandboxConfig) -> Option<Reason> {
    if flow.ethertype == ethertype::ARP {
        return Some(arp::judge(frame, flow, sandbox));
    }
    if !flow.has_ports {
        return None;
    }
    match flow.protocol {
        protocol::UDP => dhcp::judge(frame, flow, sandbox),
        protocol::ICMP => match flow.icmp_type() {
            icmp4::ECHO_REQUEST | icmp4::ECHO_REPLY | icmp4::UNREACHABLE => None,
            icmp4::TIME_EXCEEDED | icmp4::PARAMETER_PROBLEM => None,
            icmp4::REDIRECT | icmp4::ROUTER_ADVERTISEMENT => Some(Reason::RouterRole),
            _ => Some(Reason::IcmpType),
        },
        protocol::ICMPV6 => match flow.icmp_type() {
            icmp6::FIRST_ERROR..=icmp6::LAST_ERROR | icmp6::ECHO_REQUEST | icmp6::ECHO_REPLY => None,
            icmp6::LISTENER_QUERY..=icmp6::LISTENER_DONE | icmp6::LISTENER_REPORT_V2 => Some(Reason::GroupMembership),
            icmp6::ROUTER_ADVERTISEMENT | icmp6::REDIRECT => Some(Reason::RouterRole),
            // Neighbour discovery in fragments is refused (RFC 6980).
            icmp6::ROUTER_SOLICITATION..=icmp6::NEIGHBOUR_ADVERTISEMENT if flow.fragment != Fragment::Whole => {
                Some(Reason::Neighbour)
            }
            icmp6::ROUTER_SOLICITATION => Some(neighbour::router_solicitation(frame, flow, sandbox)),
            icmp6::NEIGHBOUR_SOLICITATION => Some(neighbour::solicitation(frame, flow, sandbox)),
            icmp6::NEIGHBOUR_ADVERTISEMENT => Some(neighbour::advertisement(frame, flow, sandbox)),
            _ => Some(Reason::IcmpType),
        },
        _ => None,
    }
}

/// Whether the sandbox may speak as `address`: one of its prefixes covers it, and it is not the gateway's. With the source check
/// off, any address that can be a source (RFC 1122, section 3.2.1.3; RFC 4291, section 2.7).
#[inline(always)]
fn owns(sandbox: &SandboxConfig, address: &Address) -> bool {
    let own =
        if sandbox.flags & SandboxFlags::ANY_SOURCE != 0 { can_be_source(address) } else { covered(sandbox, address) };
    own && (sandbox.flags & SandboxFlags::GATEWAY_APART != 0 || !is_gateway(sandbox, address))
}

#[inline(always)]
fn covered(sandbox: &SandboxConfig, address: &Address) -> bool {
    any_covers(&sandbox.sources, sandbox.source_count, address)
}

/// Whether one of the first `count` prefixes covers `address`.
#[inline(always)]
fn any_covers<const N: usize>(prefixes: &[Prefix; N], count: u16, address: &Address) -> bool {
    for (at, prefix) in prefixes.iter().enumerate() {
        if at >= usize::from(count) {
            return false;
        }
        if prefix.covers(address) {
            return true;
        }
    }
    false
}

#[inline(always)]
fn can_be_source(address: &Address) -> bool {
    let (high, low) = address.words();
    if address.is_v4() {
        let first = (low as u32) >> 24;
        return first != 0 && first != 127 && first < 224;
    }
    !(high == 0 && low <= 1) && high >> 56 != 0xff
}

#[inline(always)]
fn is_gateway(sandbox: &SandboxConfig, address: &Address) -> bool {
    let count = usize::from(sandbox.gateway_count);
    for (at, gateway) in sandbox.gateways.iter().enumerate() {
        if at >= count {
            return false;
        }
        if gateway == address {
            return true;
        }
    }
    false
}
