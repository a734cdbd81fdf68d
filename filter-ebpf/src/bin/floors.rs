//! Programs that do less than the filter must: what a benchmark holds it against. Never shipped.
#![no_std]
#![no_main]

use aya_ebpf::Global;
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, LpmTrie, PerCpuArray};
use aya_ebpf::helpers::generated::{bpf_l3_csum_replace, bpf_redirect_neigh, bpf_skb_store_bytes};
use aya_ebpf::macros::{btf_map, cgroup_skb, classifier};
use aya_ebpf::programs::{SkBuffContext, TcContext};

/// Kernel helpers are for programs under a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Whether a prefix passes; IPv4 stands as `::ffff:a.b.c.d`.
#[btf_map]
static PREFIXES: LpmTrie<[u8; 16], u32, { 1 << 21 }> = LpmTrie::new();

/// A line of the processor's cache each; the loader says how many.
#[btf_map]
static MEMORY: Array<[u64; 8], 1> = Array::new();

/// How many lines there are.
#[unsafe(no_mangle)]
static LINES: Global<u32> = Global::new(1);

/// A number by the lowest bits of a device's index.
#[btf_map]
static DEVICES: Array<u32, DEVICE_COUNT> = Array::new();

const DEVICE_COUNT: usize = 8_192;

/// Packets.
#[btf_map]
static COUNTS: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Who a sandbox is, by the lowest bits of its device's index.
#[btf_map]
static IDENTITIES: Array<[u64; 2], DEVICE_COUNT> = Array::new();

/// Blocks of addresses that are somebody's, a bit each.
#[btf_map]
static BLOCKS: Array<u64, BLOCK_WORDS> = Array::new();

const BLOCK_WORDS: usize = 1_024;

/// Packets and bytes.
#[btf_map]
static SUMS: PerCpuArray<[u64; 2], 1> = PerCpuArray::new();

/// What hanging a program there costs.
#[classifier]
pub fn empty(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// The least that an address list needs: the headers read in place, and one lookup.
#[classifier]
pub fn one_lookup(ctx: TcContext) -> i32 {
    lookup(address::<DESTINATION>(&ctx))
}

/// The same of a packet on its way back.
#[classifier]
pub fn one_lookup_back(ctx: TcContext) -> i32 {
    lookup(address::<SOURCE>(&ctx))
}

/// The same of a packet that a socket of a cgroup sends.
#[cgroup_skb(egress)]
pub fn cgroup_lookup(ctx: SkBuffContext) -> i32 {
    const IP: usize = 20;
    // SAFETY: the context is valid while the program runs.
    let (start, end) = unsafe { ((*ctx.skb.skb).data as usize, (*ctx.skb.skb).data_end as usize) };
    if start + IP > end {
        return 0;
    }
    // SAFETY: the bytes lie before the end, as was just checked.
    let header = unsafe { &*(start as *const [u8; IP]) };
    let mut address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    address[12..].copy_from_slice(&header[DESTINATION..DESTINATION + 4]);
    i32::from(header[0] >> 4 == 4 && lookup(Some(address)) == TC_ACT_UNSPEC)
}

/// One look at the memory: the least that a list needs which is too large for the processor's caches.
#[classifier]
pub fn one_access(ctx: TcContext) -> i32 {
    access(address::<DESTINATION>(&ctx), 0)
}

/// The least that a filter needs which has a list for each sandbox and counts: the headers, an array by the device, a look at a list
/// that has the answer where the address says, and a counter.
#[classifier]
pub fn least(ctx: TcContext) -> i32 {
    count(device(&ctx).map_or(TC_ACT_SHOT, |number| access(address::<DESTINATION>(&ctx), number)))
}

/// The same of a packet on its way back.
#[classifier]
pub fn least_back(ctx: TcContext) -> i32 {
    count(device(&ctx).map_or(TC_ACT_SHOT, |number| access(address::<SOURCE>(&ctx), number)))
}

/// What a filter cannot do without, for IPv4 alone: a whole header and no fragment, the sandbox's own address, the gateway's MAC address, a
/// whole transport header; then a line with twelve keys and their answers, a look whether the address may be somebody's, and a count of
/// packets and bytes.
#[classifier]
pub fn checked(ctx: TcContext) -> i32 {
    check::<SOURCE, DESTINATION, 0>(&ctx).map_or(TC_ACT_SHOT, |()| TC_ACT_UNSPEC)
}

/// The same of a packet on its way back.
#[classifier]
pub fn checked_back(ctx: TcContext) -> i32 {
    check::<DESTINATION, SOURCE, 6>(&ctx).map_or(TC_ACT_SHOT, |()| TC_ACT_UNSPEC)
}

/// `GATEWAY`: where the frame has the gateway's MAC address.
#[inline(always)]
fn check<const OWN: usize, const FAR: usize, const GATEWAY: usize>(ctx: &TcContext) -> Option<()> {
    const ETHERNET: usize = 14;
    const HEADERS: usize = ETHERNET + 20 + 8;
    const MAC: u64 = 0xffff_ffff_ffff;
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    let number = device(ctx)?;
    // SAFETY: the context of a classifier is valid while it runs.
    let (ifindex, length) = unsafe { ((*ctx.skb.skb).ifindex, (*ctx.skb.skb).len) };
    let [gateway, own] = *IDENTITIES.get(ifindex & (DEVICE_COUNT as u32 - 1))?;
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + HEADERS + 8 > end {
        return None;
    }
    // SAFETY: all that is read lies before the end, as was just checked.
    let frame = unsafe { &*(start as *const [u8; HEADERS + 8]) };
    let two = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let four = |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    // SAFETY: as above.
    let mac = unsafe { ((start + GATEWAY) as *const u64).read_unaligned() } & MAC;
    let total = two(ETHERNET + 2);
    let is_whole = two(12) == 0x0800 && frame[ETHERNET] == 0x45 && total >= 28 && u32::from(total) + 14 <= length;
    let is_one = two(ETHERNET + 6) & 0x3fff == 0;
    if !is_whole || !is_one || mac != gateway || u64::from(four(ETHERNET + OWN)) != own {
        return None;
    }
    let is_transport = match frame[ETHERNET + 9] {
        UDP => two(ETHERNET + 24) >= 8 && two(ETHERNET + 24) <= total - 20,
        TCP => frame[ETHERNET + 32] >> 4 >= 5,
        _ => false,
    };
    let far = four(ETHERNET + FAR);
    let line = (u64::from(far.wrapping_mul(0x9e37_79b1)) * u64::from(LINES.load()) >> 32) as u32;
    let line = MEMORY.get(number + line)?;
    let mut part = 0;
    for pair in &line[..6] {
        for key in [*pair as u32, (*pair >> 32) as u32] {
            part += u64::from(key).wrapping_sub(u64::from(far)) >> 63;
        }
    }
    let answer = line[6 + (part as usize >> 3 & 1)] >> ((part & 7) * 8) & 0xff;
    let block = far >> 16;
    let somebodys = BLOCKS.get(block / 64)? >> (block % 64) & 1;
    if !is_transport || answer != 0 || somebodys != 0 {
        return None;
    }
    // SAFETY: a per-CPU element, written by this CPU alone.
    let [packets, bytes] = SUMS.get_ptr_mut(0).map(|sums| unsafe { &mut *sums })?;
    *packets += 1;
    *bytes += u64::from(length);
    Some(())
}

#[inline(always)]
fn access(address: Option<[u8; 16]>, first: u32) -> i32 {
    let Some([.., a, b, c, d]) = address else { return TC_ACT_SHOT };
    let mixed = u32::from_ne_bytes([a, b, c, d]).wrapping_mul(0x9e37_79b1);
    let line = (u64::from(mixed) * u64::from(LINES.load()) >> 32) as u32;
    match MEMORY.get(first + line) {
        Some(line) if line[0] == 0 => TC_ACT_UNSPEC,
        _ => TC_ACT_SHOT,
    }
}

/// What is stored for the device.
#[inline(always)]
fn device(ctx: &TcContext) -> Option<u32> {
    // SAFETY: the context of a classifier is valid while it runs.
    let ifindex = unsafe { (*ctx.skb.skb).ifindex };
    DEVICES.get(ifindex & (DEVICE_COUNT as u32 - 1)).copied()
}

#[inline(always)]
fn count(verdict: i32) -> i32 {
    let Some(packets) = COUNTS.get_ptr_mut(0) else { return TC_ACT_SHOT };
    // SAFETY: a per-CPU element, written by this CPU alone.
    unsafe { *packets += 1 };
    verdict
}

#[inline(always)]
fn lookup(address: Option<[u8; 16]>) -> i32 {
    match address {
        Some(address) if PREFIXES.get(&Key::new(128, address)).is_some_and(|passes| *passes != 0) => TC_ACT_UNSPEC,
        _ => TC_ACT_SHOT,
    }
}

/// Where an IPv4 header has its addresses.
const SOURCE: usize = 12;
const DESTINATION: usize = 16;

/// The index of the device behind which everybody is.
#[unsafe(no_mangle)]
static UPLINK: Global<u32> = Global::new(0);

/// Sends everything on, past the rest of the stack: what the kernel's forwarding changes in a packet is done here.
#[classifier]
pub fn past(ctx: TcContext) -> i32 {
    const TTL: u32 = 14 + 8;
    const CHECKSUM: u32 = 14 + 10;
    const TWO_BYTES: u64 = 2;
    let (skb, start) = (ctx.skb.skb, ctx.data());
    if address::<DESTINATION>(&ctx).is_none() {
        return TC_ACT_SHOT;
    }
    // SAFETY: the bytes lie before the end, as `address` has checked; the helpers check what they are given.
    unsafe {
        let ttl = *((start + TTL as usize) as *const u8);
        let rest = *((start + TTL as usize + 1) as *const u8);
        let (before, after) = (u16::from_ne_bytes([ttl, rest]), u16::from_ne_bytes([ttl.wrapping_sub(1), rest]));
        if ttl <= 1 || bpf_l3_csum_replace(skb, CHECKSUM, before.into(), after.into(), TWO_BYTES) != 0 {
            return TC_ACT_SHOT;
        }
        let ttl = ttl - 1;
        if bpf_skb_store_bytes(skb, TTL, (&raw const ttl).cast(), 1, 0) != 0 {
            return TC_ACT_SHOT;
        }
        bpf_redirect_neigh(UPLINK.load(), core::ptr::null_mut(), 0, 0) as i32
    }
}

/// An address of an IPv4 packet.
#[inline(always)]
fn address<const AT: usize>(ctx: &TcContext) -> Option<[u8; 16]> {
    const ETHERNET: usize = 14;
    const IP: usize = 20;
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + ETHERNET + IP > end {
        return None;
    }
    let mut address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    // SAFETY: the bytes lie before the end, as was just checked; they are read one by one.
    let frame = unsafe { &*(start as *const [u8; ETHERNET + IP]) };
    if frame[12] != 0x08 || frame[13] != 0 || frame[ETHERNET] >> 4 != 4 {
        return None;
    }
    address[12..].copy_from_slice(&frame[ETHERNET + AT..ETHERNET + AT + 4]);
    Some(address)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
