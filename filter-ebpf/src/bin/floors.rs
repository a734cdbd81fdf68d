//! Programs that do less than the filter must: what a benchmark holds it against. Never shipped.
#![no_std]
#![no_main]

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::btf_maps::LpmTrie;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::macros::{btf_map, classifier};
use aya_ebpf::programs::TcContext;

/// Kernel helpers are for programs under a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Whether a prefix passes; IPv4 stands as `::ffff:a.b.c.d`.
#[btf_map]
static PREFIXES: LpmTrie<[u8; 16], u32, { 1 << 21 }> = LpmTrie::new();

/// What hanging a program there costs.
#[classifier]
pub fn empty(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// The least that an address list needs: the headers read in place, and one lookup.
#[classifier]
pub fn one_lookup(ctx: TcContext) -> i32 {
    match destination(&ctx) {
        Some(address) if PREFIXES.get(&Key::new(128, address)).is_some_and(|passes| *passes != 0) => TC_ACT_UNSPEC,
        _ => TC_ACT_SHOT,
    }
}

/// The destination of an IPv4 packet.
#[inline(always)]
fn destination(ctx: &TcContext) -> Option<[u8; 16]> {
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
    address[12..].copy_from_slice(&frame[ETHERNET + 16..]);
    Some(address)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
