//! Counters and deny events.

use crate::maps::{COUNTERS, EVENTS, STRAYS};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use core::arch::asm;
use filter_core::abi::{Counter, Event, EventFlags, Rows, SandboxConfig};
use filter_core::packet::Flow;
use filter_core::{Reason, Verdict};

/// Counts a packet from the sandbox and its bytes.
#[inline(always)]
pub fn count_outbound(slot: u32, reason: Reason, length: u32) {
    if reason.allows() {
        count_sent(slot, reason, length);
    } else {
        count_denied(slot, reason, length);
    }
}

/// Counts a packet from the sandbox that passes.
#[inline(always)]
pub fn count_sent(slot: u32, reason: Reason, length: u32) {
    count(slot, u32::from(reason.number()), Counter::BytesAllowed, length);
}

/// Counts a packet towards the sandbox and its bytes; only denials are told apart by reason.
#[inline(always)]
pub fn count_inbound(slot: u32, reason: Reason, length: u32) {
    if reason.allows() {
        count_received(slot, length);
    } else {
        count_denied(slot, reason, length);
    }
}

/// Counts a packet towards the sandbox that passes.
#[inline(always)]
pub fn count_received(slot: u32, length: u32) {
    count(slot, Counter::InboundAllowed as u32, Counter::InboundBytes, length);
}

#[inline(always)]
fn count_denied(slot: u32, reason: Reason, length: u32) {
    count(slot, u32::from(reason.number()), Counter::BytesDenied, length);
}

/// Whether the sandbox's rate limit has room for an answer to a denied packet; counts one that has none.
#[inline(always)]
pub fn may_reject(slot: u32, sandbox: &SandboxConfig) -> bool {
    let bucket = Bucket {
        tokens: Counter::RejectTokens,
        stamp: Counter::RejectStamp,
        rate: sandbox.rejects_per_second,
        burst: sandbox.rejects_burst,
    };
    // SAFETY: reads the clock.
    let now = unsafe { bpf_ktime_get_ns() };
    let granted = bucket.take(slot, now);
    if !granted {
        add(slot, Counter::RejectsSuppressed, 1);
    }
    granted
}

/// Counts an answer to a denied packet.
#[inline(always)]
pub fn rejected(slot: u32) {
    add(slot, Counter::RejectsSent, 1);
}

/// Counts a packet of a device that belongs to no sandbox.
#[inline(always)]
pub fn stray() {
    if let Some(counter) = STRAYS.get_ptr_mut(0) {
        // SAFETY: a per-CPU element, written by this CPU alone.
        unsafe { *counter += 1 };
    }
}

/// Writes the event of a denial, if the sandbox's rate limit and the ring have room. What is not told is counted.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell(slot: u32, sandbox: *const SandboxConfig, flow: *const Flow, verdict: u64, length: u32) -> u32 {
    // SAFETY: the verifier makes sure that a pointer is null or leads to a whole value.
    let (Some(flow), Some(sandbox)) = (unsafe { (flow.as_ref(), sandbox.as_ref()) }) else {
        return 0;
    };
    write(slot, sandbox, flow, Verdict::from_word(verdict), length);
    0
}

#[inline(always)]
fn write(slot: u32, sandbox: &SandboxConfig, flow: &Flow, verdict: Verdict, length: u32) {
    // SAFETY: reads the clock.
    let now = unsafe { bpf_ktime_get_ns() };
    let bucket = Bucket {
        tokens: Counter::BucketTokens,
        stamp: Counter::BucketStamp,
        rate: sandbox.events_per_second,
        burst: sandbox.events_burst,
    };
    if !bucket.take(slot, now) {
        add(slot, Counter::EventsSuppressed, 1);
        return;
    }
    let Some(mut entry) = EVENTS.reserve(0) else {
        add(slot, Counter::EventsLost, 1);
        return;
    };
    let mut flags = 0;
    if flow.has_addresses {
        flags |= EventFlags::ADDRESSES;
    }
    if flow.has_ports {
        flags |= EventFlags::PORTS;
    }
    entry.write(Event {
        ktime: now,
        source: flow.source,
        destination: flow.destination,
        slot,
        incarnation: sandbox.incarnation,
        generation: verdict.generation,
        length,
        ethertype: flow.ethertype,
        source_port: flow.source_port,
        destination_port: flow.destination_port,
        protocol: flow.protocol,
        reason: verdict.reason.number(),
        flags,
        pad: 0,
    });
    entry.submit(0);
    add(slot, Counter::EventsSent, 1);
}

/// A token bucket of a sandbox on this CPU, in thousandths of a token.
struct Bucket {
    tokens: Counter,
    stamp: Counter,
    rate: u32,
    burst: u32,
}

impl Bucket {
    #[inline(always)]
    fn take(&self, slot: u32, now: u64) -> bool {
        const ONE: u64 = 1_000;
        /// Nanoseconds that earn a thousandth of a token at one a second.
        const NANOSECONDS: u64 = 1_000_000;
        /// A longer pause fills every bucket; bounds the product below.
        const LONGEST: u64 = 3_600_000_000_000;

        let (Some(tokens), Some(stamp)) = (row(slot, self.tokens), row(slot, self.stamp)) else {
            return false;
        };
        let (rate, most) = (u64::from(self.rate), u64::from(self.burst) * ONE);
        // SAFETY: per-CPU elements, written by this CPU alone.
        unsafe {
            let passed = now.wrapping_sub(*stamp).min(LONGEST);
            let earned = passed * rate / NANOSECONDS;
            if earned > 0 {
                *tokens = (*tokens + earned).min(most);
                *stamp = now;
            }
            if *tokens < ONE || rate == 0 {
                return false;
            }
            *tokens -= ONE;
        }
        true
    }
}

#[inline(always)]
fn count(slot: u32, packets: u32, bytes: Counter, length: u32) {
    let Some(rows) = rows(slot) else { return };
    // The compiler knows that a reason has a row and leaves the comparison out; the verifier does not.
    let packets = opaque(packets);
    // SAFETY: a per-CPU element, written by this CPU alone.
    unsafe {
        if let Some(packets) = (*rows).0.get_mut(packets as usize) {
            *packets += 1;
        }
        (*rows).0[bytes as usize] += u64::from(length);
    }
}

#[inline(always)]
fn add(slot: u32, at: Counter, amount: u64) {
    if let Some(counter) = row(slot, at) {
        // SAFETY: a per-CPU element, written by this CPU alone.
        unsafe { *counter += amount };
    }
}

#[inline(always)]
fn row(slot: u32, at: Counter) -> Option<*mut u64> {
    // SAFETY: the helper returned a live element.
    rows(slot).map(|rows| unsafe { &raw mut (*rows).0[at as usize] })
}

#[inline(always)]
fn rows(slot: u32) -> Option<*mut Rows> {
    // A constant would be read from the program's constants, which lie apart from all else that a packet needs.
    let only = opaque(0);
    COUNTERS.get_value_ptr_mut(slot, &only)
}

/// A number of which the compiler knows nothing.
#[inline(always)]
pub fn opaque(number: u32) -> u32 {
    let mut number = u64::from(number);
    // SAFETY: changes nothing; the number has no more bits than before.
    unsafe {
        asm!("{number} = {number}", number = inout(reg) number, options(pure, nomem, nostack, preserves_flags));
        core::hint::assert_unchecked(number <= u32::MAX as u64);
    }
    number as u32
}
