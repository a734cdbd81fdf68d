//! Checksums that are left to the device.
//!
//! A frame can say that some device on its way is to sum it from one offset on and to write the result to another
//! (`CHECKSUM_PARTIAL`; a packet socket or a virtual machine chooses both). That write comes after the verdict: into a destination
//! address or a port it would make another packet of it. So a frame may have its checksum completed only where TCP or UDP has one
//! (RFC 9293, section 3.1; RFC 768), or further behind, where nothing was judged.

use crate::frame::Frame;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_csum_level, bpf_l4_csum_replace, bpf_skb_change_tail, bpf_skb_store_bytes};
use aya_ebpf::programs::TcContext;
use filter_core::decide::plain::Plain;
use filter_core::packet::{Flow, Fragment, Source, protocol};
use filter_core::{FlowChange, Reason, Verdict};

/// Denies a packet that is to be changed where it was judged. What is denied here may be cut short.
#[inline(always)]
pub fn judge(ctx: &TcContext, frame: &Frame, flow: &Flow, verdict: Verdict) -> Verdict {
    let skb = ctx.skb.skb;
    if !verdict.reason.allows() {
        return verdict;
    }
    match is_partial(skb, frame, flow.network) {
        Some(false) => verdict,
        Some(true) if ends_behind(skb, flow) => verdict,
        _ => Verdict { reason: Reason::MalformedTransport, change: FlowChange::None, ..verdict },
    }
}

/// Whether a plain packet's checksum is complete, or left to the device where TCP or UDP has it. Changes no packet that passes.
///
/// A packet that is summed up, or not at all, says so: its checksum level can be raised (Linux 5.8). One that is left to a device cannot be cut
/// before the checksum's place.
#[inline(always)]
pub fn is_plain(skb: *mut __sk_buff, packet: &Plain) -> bool {
    const QUERY: u64 = 0;
    const RAISE: u64 = 1;
    const LOWER: u64 = 2;
    const INVALID: i64 = -22;
    // SAFETY: the context of a classifier is valid while it runs.
    unsafe {
        bpf_csum_level(skb, RAISE);
        if bpf_csum_level(skb, QUERY) >= 0 {
            bpf_csum_level(skb, LOWER);
            return true;
        }
        let end = if packet.protocol == protocol::TCP { 18 } else { 8 };
        bpf_skb_change_tail(skb, packet.transport + end - 1, 0) == INVALID
    }
}

/// Whether a checksum is left to the device: then the kernel does not correct a field for a change that is no pseudo header's.
/// The two bytes at `at` are written back.
#[inline(always)]
fn is_partial(skb: *mut __sk_buff, frame: &Frame, at: u32) -> Option<bool> {
    const OTHER: u64 = 0x5555;
    const TWO_BYTES: u64 = 2;
    let before: [u8; 2] = frame.load(at)?;
    // SAFETY: the helper checks the offset against the packet.
    if unsafe { bpf_l4_csum_replace(skb, at, 0, OTHER, TWO_BYTES) } != 0 {
        return None;
    }
    let after: [u8; 2] = frame.load(at)?;
    if after == before {
        return Some(true);
    }
    // SAFETY: the buffer has the length given.
    let restored = unsafe { bpf_skb_store_bytes(skb, at, before.as_ptr().cast(), 2, 0) };
    (restored == 0).then_some(false)
}

/// Whether the checksum that is left to the device ends where that of TCP or UDP does, or behind: such a packet cannot be cut
/// before that.
#[inline(always)]
fn ends_behind(skb: *mut __sk_buff, flow: &Flow) -> bool {
    let end = match flow.protocol {
        _ if flow.fragment != Fragment::Whole || !flow.has_ports => return false,
        protocol::TCP => 18,
        protocol::UDP => 8,
        _ => return false,
    };
    // Any other failure is none of the packet's being short.
    const INVALID: i64 = -22;
    // SAFETY: the context of a classifier is valid while it runs.
    unsafe { bpf_skb_change_tail(skb, flow.transport + end - 1, 0) == INVALID }
}
