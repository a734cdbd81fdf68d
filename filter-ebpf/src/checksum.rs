//! Checksums that are left to the device.
//!
//! A frame can say that some device on its way is to sum it from one offset on and to write the result to another
//! (`CHECKSUM_PARTIAL`; a packet socket or a virtual machine chooses both). That write comes after the verdict: into a destination
//! address or a port it would make another packet of it. So a frame may have its checksum completed only where TCP or UDP has one
//! (RFC 9293, section 3.1; RFC 768), or further behind, where nothing was judged.

use crate::frame::Frame;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{
    bpf_csum_level, bpf_l4_csum_replace, bpf_probe_read_kernel, bpf_skb_change_tail, bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;
use core::arch::asm;
use filter_core::abi::{CAST_TO_KERNEL, KERNEL_VIEW, KernelView, READ_FIELD, SUMMED_BITS, SkbField};
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
    let unharmed = if kernel_view() != KernelView::NONE {
        place(skb).is_none_or(|place| behind(flow).is_some_and(|least| place.is_behind(least)))
    } else {
        is_unharmed_by_trying(skb, frame, flow)
    };
    if unharmed {
        return verdict;
    }
    deny(verdict)
}

/// The verdict on a packet that is to be changed where it was judged.
#[inline(always)]
pub fn deny(verdict: Verdict) -> Verdict {
    Verdict { reason: Reason::MalformedTransport, change: FlowChange::None, ..verdict }
}

/// How a plain packet's checksum is.
pub enum Summed {
    /// Complete, or left to the device where TCP or UDP has it, or behind.
    Well,
    /// It was left to the device before that, and the packet has been cut short to find out.
    Cut,
}

/// How a plain packet's checksum is; `None` when the walk is to judge it.
#[inline(always)]
pub fn of_plain(skb: *mut __sk_buff, packet: &Plain) -> Option<Summed> {
    let field = packet.transport + if packet.protocol == protocol::TCP { TCP_FIELD } else { UDP_FIELD };
    if kernel_view() == KernelView::NONE {
        return Some(by_trying(skb, field));
    }
    place(skb).is_none_or(|place| place.is_behind(field)).then_some(Summed::Well)
}

/// Where the checksum's field lies in a TCP and in a UDP header.
const TCP_FIELD: u32 = 16;
const UDP_FIELD: u32 = 6;

/// The first place where a device may write a checksum into a packet; `None` when nowhere.
#[inline(always)]
fn behind(flow: &Flow) -> Option<u32> {
    match flow.protocol {
        _ if flow.fragment != Fragment::Whole || !flow.has_ports => None,
        protocol::TCP => Some(flow.transport + TCP_FIELD),
        protocol::UDP => Some(flow.transport + UDP_FIELD),
        _ => None,
    }
}

/// How the program may look into the kernel's own structure. The verifier leaves out what is for other cases.
#[inline(always)]
fn kernel_view() -> u32 {
    number::<KERNEL_VIEW>() as u32
}

/// A number that the loader puts into an instruction.
#[inline(always)]
fn number<const NUMBER: u32>() -> u64 {
    let number: u64;
    // SAFETY: sets a register.
    unsafe {
        asm!("{number} = {value}", number = out(reg) number, value = const NUMBER, options(pure, nomem, nostack, preserves_flags));
    }
    number
}

/// Loads a field of the kernel's structure, of which the loader knows the place.
macro_rules! field {
    ($size:ident, $from:expr, $place:expr) => {{
        let value: u64;
        asm!(
            concat!("{value} = *(", stringify!($size), " *)({from} + {place})"),
            value = out(reg) value,
            from = in(reg) $from,
            place = const $place,
            options(pure, readonly, nostack, preserves_flags)
        );
        value
    }};
}

/// Where in memory the device is to write a checksum that is left to it, and where the frame begins.
struct Place {
    checksum: u64,
    frame: u64,
}

impl Place {
    /// Whether it is so many bytes behind the frame's beginning, or more.
    #[inline(always)]
    fn is_behind(&self, least: u32) -> bool {
        self.checksum >= self.frame + u64::from(least)
    }
}

/// Where the device is to write a checksum that is left to it; `None` when none is. Only with the kernel's view.
#[inline(always)]
fn place(skb: *mut __sk_buff) -> Option<Place> {
    if kernel_view() == KernelView::READ { read_place(skb) } else { cast_place(skb) }
}

/// The same by reading the kernel's memory. What cannot be read is in front of everything.
#[inline(always)]
fn read_place(skb: *mut __sk_buff) -> Option<Place> {
    const NOWHERE: Place = Place { checksum: 0, frame: u64::MAX >> 1 };
    let all = || -> Option<Option<Place>> {
        let summed = u32::from(read::<u8, READ_FIELD>(skb)?);
        let bits = number::<SUMMED_BITS>() as u32;
        if summed & bits != bits {
            return Some(None);
        }
        let start = read::<u16, { READ_FIELD + 1 }>(skb)?;
        let offset = read::<u16, { READ_FIELD + 2 }>(skb)?;
        let (head, frame) = (read::<u64, { READ_FIELD + 3 }>(skb)?, read::<u64, { READ_FIELD + 4 }>(skb)?);
        Some(Some(Place { checksum: head + u64::from(start) + u64::from(offset), frame }))
    };
    all().unwrap_or(Some(NOWHERE))
}

/// A field of the kernel's structure, by what stands for its offset: the context is that structure.
#[inline(always)]
fn read<T: Copy + Default, const FIELD: u32>(skb: *mut __sk_buff) -> Option<T> {
    let mut value = T::default();
    let from = skb.cast::<u8>().wrapping_add(number::<FIELD>() as usize);
    // SAFETY: the helper reads from anywhere, and writes as much as there is room for.
    let failed = unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from.cast()) };
    (failed == 0).then_some(value)
}

/// The same by fields that the verifier knows.
#[inline(always)]
fn cast_place(skb: *mut __sk_buff) -> Option<Place> {
    // SAFETY: the loader puts the kernel's function in the place of this number, which takes the context and gives its own view of
    // it; the verifier checks every place that is read there against the kernel's types.
    unsafe {
        let cast: extern "C" fn(*mut __sk_buff) -> *const u8 = core::mem::transmute(CAST_TO_KERNEL as usize);
        let skb = cast(skb);
        // Both bits are set when it is left to the device (`CHECKSUM_PARTIAL`): then nothing is left of them.
        let mut summed = field!(u8, skb, SkbField::SUMMED);
        asm!(
            "{summed} &= {bits}",
            "{summed} ^= {bits}",
            summed = inout(reg) summed,
            bits = const SUMMED_BITS,
            options(pure, nomem, nostack, preserves_flags)
        );
        if summed != 0 {
            return None;
        }
        let start = field!(u16, skb, SkbField::CHECKSUM_START);
        let offset = field!(u16, skb, SkbField::CHECKSUM_OFFSET);
        let (head, frame) = (field!(u64, skb, SkbField::HEAD), field!(u64, skb, SkbField::DATA));
        Some(Place { checksum: head + start + offset, frame })
    }
}

/// How a plain packet's checksum is, without a look into the kernel's structure.
#[inline(always)]
fn by_trying(skb: *mut __sk_buff, field: u32) -> Summed {
    if is_cut(skb, field) == 0 { Summed::Well } else { Summed::Cut }
}

/// Changes no packet that passes: a packet that is summed up, or not at all, says so, because its checksum level can be raised (Linux 5.8).
/// One that is left to a device cannot be cut before the checksum's place; not 0 when it was.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_cut(skb: *mut __sk_buff, field: u32) -> u32 {
    const QUERY: u64 = 0;
    const RAISE: u64 = 1;
    const LOWER: u64 = 2;
    const INVALID: i64 = -22;
    // SAFETY: the context of a classifier is valid while it runs.
    unsafe {
        bpf_csum_level(skb, RAISE);
        if bpf_csum_level(skb, QUERY) >= 0 {
            bpf_csum_level(skb, LOWER);
            return 0;
        }
        u32::from(bpf_skb_change_tail(skb, field + 1, 0) != INVALID)
    }
}

/// Without a look into the kernel's structure.
#[inline(always)]
fn is_unharmed_by_trying(skb: *mut __sk_buff, frame: &Frame, flow: &Flow) -> bool {
    match is_partial(skb, frame, flow.network) {
        Some(false) => true,
        Some(true) => ends_behind(skb, flow),
        None => false,
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
    // Any other failure is none of the packet's being short.
    const INVALID: i64 = -22;
    // SAFETY: the context of a classifier is valid while it runs.
    behind(flow).is_some_and(|least| unsafe { bpf_skb_change_tail(skb, least + 1, 0) } == INVALID)
}
