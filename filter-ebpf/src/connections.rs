//! Connections that go straight out, accounted where somebody wants them told.

use crate::atomic::add;
use crate::flows::{self, Way};
use crate::maps::{CONNECTIONS, CONNECTIONS_LOST};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use filter_core::abi::{ConnectionEnd, ConnectionKey, ConnectionValue, SandboxConfig, SandboxFlags};
use filter_core::packet::Flow;
use filter_core::{Verdict, outbound_key};

/// `BPF_NOEXIST`: another CPU may have been faster.
const NEW: u64 = 1;
/// `EEXIST`, as the helper returns it.
const EXISTS: i32 = -17;

/// Accounts a packet, if its sandbox's are.
#[inline(always)]
pub fn account(slot: u32, sandbox: &SandboxConfig, flow: &Flow, way: Way, verdict: Verdict, length: u32) {
    if sandbox.flags & SandboxFlags::ACCOUNTED == 0 {
        return;
    }
    let kind = if verdict.reason.is_listed() {
        Kind::Listed
    } else if verdict.reason.allows() {
        return;
    } else {
        Kind::Denied
    };
    let slot = u64::from(slot) << 32 | u64::from(sandbox.incarnation);
    note(flow, slot, way as u32, (kind as u64) << 32 | u64::from(length), verdict.generation);
}

/// A packet, by what is said of it.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Kind {
    /// The lists let it pass.
    Listed,
    /// It does not pass, and ends the connection that it belongs to.
    Denied,
}

/// The attachment is slot and incarnation, the packet its kind and length, each in the halves of a word.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn note(flow: *const Flow, attachment: u64, way: u32, packet: u64, generation: u32) -> u32 {
    // SAFETY: the verifier makes sure that the pointer is null or leads to a whole value.
    let Some(flow) = (unsafe { flow.as_ref() }) else {
        return 0;
    };
    let (slot, incarnation) = ((attachment >> 32) as u32, attachment as u32);
    let (is_listed, length) = (packet >> 32 == Kind::Listed as u64, packet & 0xffff_ffff);
    let is_outward = way == Way::FromSandbox as u32;
    let key = if is_outward {
        ConnectionKey::outbound(flow, slot, incarnation)
    } else {
        ConnectionKey::inbound(flow, slot, incarnation)
    };
    let Some(key) = key else {
        return 0;
    };
    // SAFETY: reads the clock.
    let now = unsafe { bpf_ktime_get_ns() };
    let Some(value) = CONNECTIONS.get_ptr_mut(&key) else {
        if is_listed && is_outward && ConnectionValue::is_begun_by(flow, came_in(flow, slot)) {
            begin(
                &key,
                ConnectionValue { began: now, last: now, sent: length, generation, ..ConnectionValue::default() },
            );
        }
        return 0;
    };
    // SAFETY: the helper returned a live element. Each word is written whole, and the sums at once.
    unsafe {
        let end = if is_outward { &raw mut (*value).sandbox_end } else { &raw mut (*value).peer_end };
        if !is_listed {
            end.write(ConnectionEnd::CUT);
            return 0;
        }
        let sum = if is_outward { &raw mut (*value).sent } else { &raw mut (*value).received };
        add(sum, length);
        (*value).last = now;
        let before = end.read();
        let after = ConnectionEnd::after(before, flow);
        if after != before {
            end.write(after);
        }
        if is_outward && ConnectionValue::is_begun_again_by(flow) && (*value).peer_end != ConnectionEnd::OPEN {
            (*value).peer_end = ConnectionEnd::OPEN;
        }
    }
    0
}

/// State of the connection that came in which a packet of the sandbox belongs to.
#[inline(always)]
fn came_in(flow: &Flow, slot: u32) -> Option<u32> {
    flows::state(slot, &outbound_key(flow)?)
}

#[inline(always)]
fn begin(key: &ConnectionKey, value: ConnectionValue) {
    if matches!(CONNECTIONS.insert(key, value, NEW), Err(error) if error != EXISTS)
        && let Some(lost) = CONNECTIONS_LOST.get_ptr_mut(0)
    {
        // SAFETY: a per-CPU element, written by this CPU alone.
        unsafe { *lost += 1 };
    }
}
