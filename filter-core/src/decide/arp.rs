//! ARP with the gateway (RFC 826), probes and announcements of the sandbox's own address (RFC 5227).

use super::{is_gateway, link, owns};
use crate::abi::SandboxConfig;
use crate::packet::{Flow, Source};
use crate::{Address, Reason};

const LENGTH: usize = 28;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// ARP from the sandbox.
#[inline(always)]
pub(super) fn judge<S: Source>(frame: &S, flow: &mut Flow, sandbox: &SandboxConfig) -> Reason {
    let Some(message) = parse(frame, flow) else {
        return Reason::Arp;
    };
    let Message { operation, sender, target, .. } = message;
    let honest = message.mac == flow.source_mac
        && link::to_gateway_or_all(flow, sandbox)
        && link::ends_at(frame, flow.network + LENGTH as u32);
    let probe = operation == REQUEST && sender.low32() == 0 && owns(sandbox, &target);
    let spoken = owns(sandbox, &sender) && (is_gateway(sandbox, &target) || target == sender);
    if honest && (probe || spoken && (operation == REQUEST || operation == REPLY)) {
        Reason::GatewayArp
    } else {
        Reason::Arp
    }
}

/// ARP towards the sandbox: the gateway speaks for itself, to the sandbox or to everybody.
#[inline(always)]
pub(super) fn judge_gateway<S: Source>(frame: &S, flow: &mut Flow, sandbox: &SandboxConfig) -> Reason {
    let Some(message) = parse(frame, flow) else {
        return Reason::InboundDenied;
    };
    let Message { operation, sender, target, .. } = message;
    let honest = message.mac == flow.source_mac && (operation == REQUEST || operation == REPLY);
    let probe = operation == REQUEST && sender.low32() == 0 && (is_gateway(sandbox, &target) || owns(sandbox, &target));
    let spoken = is_gateway(sandbox, &sender) && (owns(sandbox, &target) || target == sender);
    if honest && (probe || spoken) { Reason::GatewayArp } else { Reason::InboundDenied }
}

struct Message {
    operation: u16,
    mac: [u8; 6],
    sender: Address,
    target: Address,
}

/// Reads the message, and its protocol addresses into `flow`.
#[inline(always)]
fn parse<S: Source>(frame: &S, flow: &mut Flow) -> Option<Message> {
    let body: [u8; LENGTH] = frame.load(flow.network)?;
    // Ethernet, IPv4, address lengths 6 and 4.
    if body[..6] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    flow.source = Address::v4([body[14], body[15], body[16], body[17]]);
    flow.destination = Address::v4([body[24], body[25], body[26], body[27]]);
    flow.has_addresses = true;
    Some(Message {
        operation: u16::from_be_bytes([body[6], body[7]]),
        mac: [body[8], body[9], body[10], body[11], body[12], body[13]],
        sender: flow.source,
        target: flow.destination,
    })
}
