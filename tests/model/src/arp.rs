//! ARP (RFC 826, RFC 5227) between the sandbox and its gateway.

use crate::Sandbox;
use crate::link::{BROADCAST, is_gateway, is_own};
use crate::packet::{Frame, array};
use std::net::IpAddr;

struct Arp {
    request: bool,
    sender_mac: [u8; 6],
    sender: IpAddr,
    target: IpAddr,
}

/// Whether ARP from the sandbox speaks for itself and with the gateway.
pub(crate) fn from_sandbox(sandbox: &Sandbox, frame: &Frame, body: &[u8]) -> bool {
    let Some(arp) = parse(body) else { return false };
    if arp.sender_mac != frame.from || !frame.tidy {
        return false;
    }
    let to_gateway = frame.to == sandbox.gateway_mac;
    let nobody = IpAddr::from([0; 4]);
    // Is somebody else using my address? Here it is.
    if (to_gateway || frame.to == BROADCAST)
        && is_own(sandbox, arp.target)
        && ((arp.request && arp.sender == nobody) || arp.sender == arp.target)
    {
        return true;
    }
    let between = is_own(sandbox, arp.sender) && is_gateway(sandbox, arp.target);
    between && (to_gateway || frame.to == BROADCAST)
}

/// Whether ARP towards the sandbox is its gateway's.
pub(crate) fn to_sandbox(sandbox: &Sandbox, frame: &Frame, body: &[u8]) -> bool {
    let Some(arp) = parse(body) else { return false };
    let to_whom = is_own(sandbox, arp.target) || is_gateway(sandbox, arp.target);
    let probe = arp.request && arp.sender == IpAddr::from([0; 4]) && to_whom;
    let speaks = is_gateway(sandbox, arp.sender) && (is_own(sandbox, arp.target) || arp.sender == arp.target);
    arp.sender_mac == frame.from && arp.sender_mac == sandbox.gateway_mac && (probe || speaks)
}

fn parse(body: &[u8]) -> Option<Arp> {
    let bytes: [u8; 28] = array(body, 0)?;
    if bytes[..6] != [0, 1, 8, 0, 6, 4] || bytes[6] != 0 || !matches!(bytes[7], 1 | 2) {
        return None;
    }
    Some(Arp {
        request: bytes[7] == 1,
        sender_mac: array(&bytes, 8)?,
        sender: array::<4>(&bytes, 14)?.into(),
        target: array::<4>(&bytes, 24)?.into(),
    })
}
