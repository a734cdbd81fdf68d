//! One hash lookup more than needed, for the proof that the benchmark sees one. Never in the shipped program.

use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::macros::btf_map;
use filter_core::Address;

/// Filled by the benchmark.
#[btf_map]
static SLOWNESS: HashMap<u32, u32, 65_536> = HashMap::new();

/// Looks up something that each packet has another of.
#[inline(always)]
pub fn dawdle(destination: &Address) -> bool {
    let (_, low) = destination.words();
    let key = (low as u32).wrapping_mul(0x9e37_79b1) >> 16;
    // SAFETY: the value is read at once, and nobody writes it meanwhile.
    unsafe { SLOWNESS.get(&key) }.is_some_and(|value| *value == u32::MAX)
}
