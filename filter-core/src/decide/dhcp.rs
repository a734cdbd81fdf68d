//! DHCP (RFC 2131) and DHCPv6 (RFC 8415) with the gateway, when the document switches it on.

use super::{is_gateway, link, neighbour, owns};
use crate::abi::{SandboxConfig, SandboxFlags};
use crate::packet::{Flow, Fragment, Source};
use crate::{Address, Reason};

const SERVER_V4: u16 = 67;
const CLIENT_V4: u16 = 68;
const CLIENT_V6: u16 = 546;
const SERVER_V6: u16 = 547;
const BROADCAST: Address = Address::v4([255; 4]);
const NOBODY_V4: Address = Address::v4([0; 4]);
/// All DHCP relay agents and servers on the link.
const ALL_SERVERS_V6: Address = Address::new([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2]);

/// A verdict on what looks like DHCP on the link; `None` for everything else, also for its ports towards far addresses.
#[inline(always)]
pub(super) fn judge<S: Source>(frame: &S, flow: &Flow, sandbox: &SandboxConfig) -> Option<Reason> {
    match (flow.source_port, flow.destination_port) {
        (SERVER_V4, CLIENT_V4) | (SERVER_V6, CLIENT_V6) => Some(Reason::Dhcp),
        (CLIENT_V4, SERVER_V4) => {
            let to_all = flow.destination == BROADCAST;
            let to_gateway = is_gateway(sandbox, &flow.destination);
            let own = (to_all && flow.source == NOBODY_V4) || owns(sandbox, &flow.source);
            (to_all || to_gateway).then(|| client(frame, flow, sandbox, own && link::to_gateway_or_all(flow, sandbox)))
        }
        (CLIENT_V6, SERVER_V6) => {
            let to_all = flow.destination == ALL_SERVERS_V6;
            let to_gateway = is_gateway(sandbox, &flow.destination);
            let own = neighbour::is_own_link_local(sandbox, &flow.source) || owns(sandbox, &flow.source);
            (to_all || to_gateway)
                .then(|| client(frame, flow, sandbox, own && link::to_gateway_or_group(flow, sandbox)))
        }
        _ => None,
    }
}

/// Whether the packet is DHCP service, from a server or relay to a client; `None` when it is not DHCP from a server's port.
#[inline(always)]
pub(super) fn is_service(flow: &Flow) -> Option<bool> {
    match (flow.source_port, flow.destination_port) {
        (SERVER_V4, CLIENT_V4) | (SERVER_V6, CLIENT_V6) => Some(flow.fragment == Fragment::Whole),
        _ => None,
    }
}

/// Whether a port is one of DHCP.
#[inline(always)]
pub(super) fn is_port(port: u16) -> bool {
    matches!(port, SERVER_V4 | CLIENT_V4 | SERVER_V6 | CLIENT_V6)
}

/// Whether the document switches DHCP on.
#[inline(always)]
pub(super) fn is_on(sandbox: &SandboxConfig) -> bool {
    sandbox.flags & SandboxFlags::DHCP != 0
}

#[inline(always)]
fn client<S: Source>(frame: &S, flow: &Flow, sandbox: &SandboxConfig, honest: bool) -> Reason {
    let whole = flow.fragment == Fragment::Whole && link::ends_at(frame, flow.transport + flow.transport_length);
    if is_on(sandbox) && honest && whole { Reason::GatewayDhcp } else { Reason::Dhcp }
}
