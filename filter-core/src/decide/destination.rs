//! Where a packet may go: protected, then allow, then deny, then the default, by one lookup in the policy's trie.

use super::{Tables, Verdict};
use crate::abi::{Capture, PolicyFlags};
use crate::packet::{Flow, protocol};
use crate::{Address, Reason, protected};

#[inline(always)]
pub(super) fn judge<T: Tables>(flow: &Flow, tables: &T) -> Verdict {
    let verdict = address(&flow.destination, flow, tables);
    if verdict.reason.allows()
        && let Some(inside) = protected::embedded(&flow.destination)
    {
        for v4 in inside {
            let inner = address(&Address::v4(v4.to_be_bytes()), flow, tables);
            if !inner.reason.allows() {
                return Verdict { reason: Reason::ProtectedEmbedded, ..inner };
            }
        }
    }
    verdict
}

#[inline(always)]
fn address<T: Tables>(address: &Address, flow: &Flow, tables: &T) -> Verdict {
    let Some(value) = tables.policy(address) else {
        return Verdict::unasked(Reason::NoPolicy);
    };
    let verdict = |reason| Verdict { reason, generation: value.generation };
    let nameserver = value.flags & PolicyFlags::NAMESERVER != 0 && is_dns(flow);
    let opened = value.flags & PolicyFlags::OPENED != 0;

    if !nameserver && !opened && protected::covers(address) {
        return verdict(Reason::ProtectedRange);
    }
    if nameserver && value.flags & PolicyFlags::NAMESERVER_ALLOWED != 0 {
        return verdict(Reason::AllowedNameserver);
    }
    let Some(listed) = list_reason(value.reason) else {
        return verdict(Reason::AddressDenied);
    };
    if !nameserver && let Some(living) = tables.living(address) {
        let sandbox = living.reason == Reason::ProtectedSandbox as u32;
        if sandbox || !opened {
            return verdict(living_reason(living.reason));
        }
    }
    if is_captured(value.capture, flow) {
        return verdict(Reason::SidecarUnavailable);
    }
    verdict(listed)
}

/// Port 53 over UDP or TCP, where the ports are known.
#[inline(always)]
fn is_dns(flow: &Flow) -> bool {
    const DOMAIN: u16 = 53;
    flow.has_ports && flow.destination_port == DOMAIN && matches!(flow.protocol, protocol::UDP | protocol::TCP)
}

/// Whether the policy hands an allowed packet to the sidecar. What the lists deny stays denied without one.
#[inline(always)]
fn is_captured(capture: u8, flow: &Flow) -> bool {
    let tcp = flow.protocol == protocol::TCP;
    let web = tcp && matches!(flow.destination_port, 80 | 443);
    capture == Capture::AllTcp as u8 && tcp || capture == Capture::AllWeb as u8 && web
}

#[inline(always)]
fn list_reason(number: u8) -> Option<Reason> {
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
