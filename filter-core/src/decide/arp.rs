//! ARP with the gateway (RFC 826), probes and announcements of the sandbox's own address (RFC 5227).

use super::{is_gateway, link, owns};
use crate::abi::SandboxConfig;
use crate::packet::{Flow, Source};
use crate::{Address, Reason};

const LENGTH: usize = 28;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

#[inline(always)]
pub(super) fn judge<S: Source>(frame: &S, flow: &mut Flow, sandbox: &SandboxConfig) -> Reason {
    let Some(body) = frame.load::<LENGTH>(flow.network) else {
        return Reason::Arp;
    };
    // Ethernet, IPv4, address lengths 6 and 4.
    if body[..6] != [0, 1, 8, 0, 6, 4] {
        return Reason::Arp;
    }
    let operation = u16::from_be_bytes([body[6], body[7]]);
    let sender = Address::v4([body[14], body[15], body[16], body[17]]);
    let target = Address::v4([body[24], body[25], body[26], body[27]]);
    flow.source = sender;
    flow.destination = target;
    flow.has_addresses = true;

    let honest = body[8..14] == flow.source_mac && link::to_gateway_or_all(flow, sandbox);
    let probe = operation == REQUEST && sender.low32() == 0 && owns(sandbox, &target);
    let spoken = owns(sandbox, &sender) && (is_gateway(sandbox, &target) || target == sender);
    if honest && (probe || spoken && (operation == REQUEST || operation == REPLY)) {
        Reason::GatewayArp
    } else {
        Reason::Arp
    }
}
