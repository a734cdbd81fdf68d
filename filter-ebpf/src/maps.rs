//! The maps. Their layouts and meanings are [`filter_core::abi`].
//!
//! `SLOTS`, `OVERFLOW`, `LIVING` and `LIVING_BLOCKS` belong to one network namespace, because interface indexes and the host's addresses do;
//! all others are shared by every instance of the program.

use crate::reject::Reply;
use crate::time_wait::Handed;
use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::{Array, ArrayOfMaps, HashMap, LpmTrie, PerCpuArray, RingBuf, SockMap};
use aya_ebpf::macros::btf_map;
use core::arch::asm;
use filter_core::abi::{
    self, ConnectionKey, ConnectionValue, Event, FlowKey, FlowValue, LivingValue, Mac, PlacedSandbox, Rows, Sandbox,
    SlotEntry,
};
use filter_core::packet::Flow;
use filter_core::table::Node;

/// Slot by `ifindex & (SLOTS - 1)`.
#[btf_map]
pub static SLOTS: Array<SlotEntry, { abi::SLOTS as usize }> = Array::new();

/// Slot by ifindex, for devices whose place in `SLOTS` is taken.
#[btf_map]
pub static OVERFLOW: HashMap<u32, SlotEntry, { abi::MAX_SANDBOXES as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Protected prefixes that come and go with the addresses of the program's namespace, where that is not the daemon's.
#[btf_map]
pub static LIVING: LpmTrie<[u8; 16], LivingValue, { 4 * abi::MAX_SANDBOXES as usize }> = LpmTrie::new();

/// [`abi::block`]s that have a prefix of `LIVING` in them, a bit each.
#[btf_map]
pub static LIVING_BLOCKS: Array<u64, { abi::BLOCK_WORDS as usize }> = Array::new();

/// Protected prefixes everywhere: those of all sandboxes, and those that come and go with the addresses of the daemon's namespace.
#[btf_map]
pub static PROTECTED: LpmTrie<[u8; 16], LivingValue, { 12 * abi::MAX_SANDBOXES as usize }> = LpmTrie::new();

/// [`abi::block`]s that have a prefix of `PROTECTED` in them, a bit each.
#[btf_map]
pub static PROTECTED_BLOCKS: Array<u64, { abi::BLOCK_WORDS as usize }> = Array::new();

/// Attachment and beginning of the policy by slot: replacing the pointer replaces addresses, prefixes, default, capture and generation at
/// once. Maps of one length, so that looking into one takes no call.
#[btf_map]
static SANDBOXES: ArrayOfMaps<Array<PlacedSandbox, 1>, { abi::MAX_SANDBOXES as usize }> = ArrayOfMaps::new();

/// The other nodes of all policies, [`abi::CHUNK_NODES`] a map; the beginning of a policy says which are its own. All maps are of one length,
/// so that looking into one takes no call, and their elements begin with a page of memory, so that each lies in one line.
#[btf_map]
static NODES: ArrayOfMaps<
    Array<Node, { abi::CHUNK_NODES as usize }, { BPF_F_MMAPABLE as usize }>,
    { abi::CHUNKS as usize },
> = ArrayOfMaps::new();

/// What is in a slot.
#[inline(always)]
pub fn sandbox(slot: u32) -> Option<&'static Sandbox> {
    let element = SANDBOXES.get(slot)?.get(0)?;
    // SAFETY: there is room for it behind the most that the lead may be; any bit pattern is a value.
    Some(unsafe { &*element.as_ptr().byte_add(lead()).cast() })
}

/// One of the other nodes of all policies.
#[inline(always)]
pub fn node(index: u32) -> Option<&'static Node> {
    NODES.get(index / abi::CHUNK_NODES)?.get(index % abi::CHUNK_NODES)
}

/// How many bytes there are in an element before what it holds. The verifier knows the number that the loader puts there.
#[inline(always)]
fn lead() -> usize {
    let lead: u64;
    // SAFETY: sets a register.
    unsafe {
        asm!("{lead} = {number}", lead = out(reg) lead, number = const abi::LEAD, options(pure, nomem, nostack, preserves_flags));
    }
    lead as usize
}

/// Counters by slot.
#[btf_map]
pub static COUNTERS: ArrayOfMaps<PerCpuArray<Rows, 1>, { abi::MAX_SANDBOXES as usize }> = ArrayOfMaps::new();

/// Connections that came in, by slot. The inner map's size is the sandbox's quota.
#[btf_map]
pub static FLOWS: ArrayOfMaps<
    HashMap<FlowKey, FlowValue, { abi::FLOWS as usize }, { BPF_F_NO_PREALLOC as usize }>,
    { abi::MAX_SANDBOXES as usize },
> = ArrayOfMaps::new();

/// Where connections are handed to, by [`abi::listener`]. A listener that is closed is gone from here at once.
#[btf_map]
pub static LISTENERS: SockMap<{ abi::LISTENERS as usize }> = SockMap::new();

/// Who speaks for the sandboxes of which something was handed over, by slot; nobody where nothing was.
#[btf_map]
pub static NEIGHBOURS: Array<Mac, { abi::MAX_SANDBOXES as usize }> = Array::new();

/// The packet of this CPU that asks for a connection where there was one.
#[btf_map]
pub static TIME_WAIT: PerCpuArray<Handed, 1> = PerCpuArray::new();

/// What a program works with and the stack has no room for. Programs on one CPU do not interrupt each other: they run with
/// bottom halves off, test runs too.
#[btf_map]
static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// See [`SCRATCH`].
#[repr(C)]
pub struct Scratch {
    /// The packet at hand.
    pub flow: Flow,
    /// The packet that it quotes.
    pub quoted: Flow,
    /// An answer to it.
    pub reply: Reply,
}

/// This CPU's scratch.
#[inline(always)]
pub fn scratch() -> Option<&'static mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: nobody else uses this CPU's element while the program runs, and any bit pattern that was written is a value.
    Some(unsafe { &mut *scratch })
}

/// Connections that go straight out, of all sandboxes whose connections are accounted.
#[btf_map]
pub static CONNECTIONS: HashMap<
    ConnectionKey,
    ConnectionValue,
    { abi::CONNECTIONS as usize },
    { BPF_F_NO_PREALLOC as usize },
> = HashMap::new();

/// Connections that found no room there.
#[btf_map]
pub static CONNECTIONS_LOST: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Packets on devices that belong to no sandbox.
#[btf_map]
pub static STRAYS: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Denials.
#[btf_map]
pub static EVENTS: RingBuf<Event, { abi::EVENT_RING_BYTES as usize }> = RingBuf::new();
