//! A record of every packet, for a test build.

use crate::attachment::Attachment;
use aya_ebpf::btf_maps::{PerCpuArray, RingBuf};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::btf_map;
use filter_core::abi::{RECORD_RING_BYTES, Record, Recorded};
use filter_core::decide::plain::Allowed;
use filter_core::packet::Flow;
use filter_core::{Address, Reason, Verdict};

/// Records, in the order in which packets were judged on each CPU.
#[btf_map]
static RECORDS: RingBuf<Record, { RECORD_RING_BYTES as usize }> = RingBuf::new();

/// Rows are [`Recorded`].
#[btf_map]
static RECORDED: PerCpuArray<u64, 2> = PerCpuArray::new();

/// The reader polls: waking it for each packet would cost more than the verdict.
const NO_WAKEUP: u64 = 1;

/// Writes the record of a verdict. One that finds the ring full is counted, and leaves a hole in the sequence.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn write(slot: u32, flow: *const Flow, verdict: u64, from_sandbox: u32) -> u32 {
    // SAFETY: the verifier makes sure that the pointer is null or leads to a whole value.
    let Some(flow) = (unsafe { flow.as_ref() }) else {
        return 0;
    };
    let Verdict { reason, generation, .. } = Verdict::from_word(verdict);
    let ports = [flow.source_port, flow.destination_port];
    put(slot, generation, reason, from_sandbox != 0, flow.destination, ports);
    0
}

/// As [`write`], of a plain packet.
#[inline(always)]
pub fn write_plain(attachment: &Attachment, Allowed { reason, packet }: &Allowed, from_sandbox: bool) {
    let ports = [packet.source_port, packet.destination_port];
    put(attachment.slot, attachment.sandbox.policy.generation(), *reason, from_sandbox, packet.destination, ports);
}

#[inline(always)]
fn put(
    slot: u32,
    generation: u32,
    reason: Reason,
    from_sandbox: bool,
    destination: Address,
    [source_port, destination_port]: [u16; 2],
) {
    let sequence = count(Recorded::Judged);
    let Some(mut entry) = RECORDS.reserve(0) else {
        count(Recorded::Lost);
        return;
    };
    // SAFETY: read the clock and the CPU's number.
    let (ktime, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    entry.write(Record {
        ktime,
        sequence,
        destination,
        cpu,
        slot,
        generation,
        source_port,
        destination_port,
        reason: reason.number(),
        from_sandbox: u8::from(from_sandbox),
        pad: [0; 6],
    });
    entry.submit(NO_WAKEUP);
}

/// Adds one to a row of this CPU; what was there before.
#[inline(always)]
fn count(row: Recorded) -> u64 {
    let Some(counter) = RECORDED.get_ptr_mut(row as u32) else {
        return 0;
    };
    // SAFETY: a per-CPU element, written by this CPU alone.
    unsafe {
        let before = *counter;
        *counter = before + 1;
        before
    }
}
