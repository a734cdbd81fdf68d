//! Plain packets, judged where they lie: [`filter_core::decide::plain`].

use crate::maps::{LIVING_BLOCKS, PROTECTED_BLOCKS};
use crate::seldom;
use crate::tables::Nodes;
use aya_ebpf::bindings::__sk_buff;
use core::arch::asm;
use filter_core::Address;
use filter_core::abi::{self, FlowKey, PolicyValue, SandboxConfig, SandboxFlags};
use filter_core::decide::plain::{Head, Lists};
use filter_core::table::First;

/// Loads what may lie anywhere, which a reference may not lead to; the processors that this runs on take it in one piece.
macro_rules! load {
    ($size:ident, $from:expr, $at:expr) => {{
        let value: u64;
        // SAFETY: the verifier refuses a program that reads a place which it has not compared with the end. What is loaded has no more
        // bits than that.
        unsafe {
            asm!(
                concat!("{value} = *(", stringify!($size), " *)({from} + {at})"),
                value = out(reg) value,
                from = in(reg) $from,
                at = const $at,
                options(pure, readonly, nostack, preserves_flags)
            );
            core::hint::assert_unchecked(value <= $size::MAX as u64);
        }
        value as $size
    }};
}

/// The linear part of a packet.
pub struct InPlace {
    skb: *const __sk_buff,
    /// Where the link header begins, or would.
    start: *const u8,
    end: usize,
    /// How much of the packet is thought and not there.
    lacks: u32,
}

/// Length of an Ethernet header.
const LINK: u32 = 14;

impl InPlace {
    #[inline(always)]
    pub fn new(skb: *const __sk_buff) -> InPlace {
        // SAFETY: the context of a classifier is valid while it runs.
        let (start, end) = unsafe { ((*skb).data, (*skb).data_end) };
        InPlace { skb, start: start as usize as *const u8, end: end as usize, lacks: 0 }
    }

    /// Of a packet that begins with its IP header.
    #[inline(always)]
    pub fn without_link(skb: *const __sk_buff) -> InPlace {
        let InPlace { start, end, .. } = InPlace::new(skb);
        InPlace { skb, start: start.wrapping_sub(LINK as usize), end, lacks: LINK }
    }
}

impl Head for InPlace {
    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: as in `new`.
        unsafe { (*self.skb).len + self.lacks }
    }

    #[inline(always)]
    fn is_tagged(&self) -> bool {
        // SAFETY: as in `new`.
        unsafe { (*self.skb).vlan_present != 0 }
    }

    #[inline(always)]
    fn holds(&self, length: u32) -> bool {
        self.start as usize + length as usize <= self.end
    }

    #[inline(always)]
    fn two<const AT: usize>(&self) -> [u8; 2] {
        load!(u16, self.start, AT).to_ne_bytes()
    }

    #[inline(always)]
    fn four<const AT: usize>(&self) -> [u8; 4] {
        load!(u32, self.start, AT).to_ne_bytes()
    }

    #[inline(always)]
    fn eight<const AT: usize>(&self) -> [u8; 8] {
        load!(u64, self.start, AT).to_ne_bytes()
    }
}

/// The policy of an attachment.
pub struct Policy {
    pub slot: u32,
    /// Its beginning.
    pub first: &'static First,
}

impl Lists for Policy {
    #[inline(always)]
    fn policy<const V4: bool>(&self, address: &Address) -> Option<PolicyValue> {
        PolicyValue::find_in::<_, V4>(&Nodes::of(self.first), self.first, address)
    }

    #[inline(always)]
    fn may_be_living(&self, address: &Address) -> bool {
        let block = abi::block(address);
        let (word, bit) = (block / 64, block % 64);
        let bits = |word: Option<&u64>| word.is_none_or(|word| word >> bit & 1 != 0);
        bits(LIVING_BLOCKS.get(word)) || bits(PROTECTED_BLOCKS.get(word))
    }

    #[inline(always)]
    fn may_be_followed(&self, key: &FlowKey) -> bool {
        seldom::is_followed(key, self.slot) != 0
    }

    #[inline(always)]
    fn owns(&self, sandbox: &SandboxConfig, address: &Address) -> bool {
        const KINDS: u32 = SandboxFlags::ANY_SOURCE | SandboxFlags::GATEWAY_APART;
        let usual = sandbox.flags & KINDS == SandboxFlags::GATEWAY_APART;
        let (high, low) = address.words();
        usual && is_usual(sandbox, address) || seldom::owns(sandbox, high, low) != 0
    }

    #[inline(always)]
    fn is_sandboxs(&self, sandbox: &SandboxConfig, address: &Address) -> bool {
        let (high, low) = address.words();
        is_usual(sandbox, address) || seldom::is_sandboxs(sandbox, high, low) != 0
    }

    #[inline(always)]
    fn may_open(&self, sandbox: &SandboxConfig, address: &Address) -> bool {
        let (high, low) = address.words();
        sandbox.inbound_count != 0 && seldom::may_open(sandbox, high, low) != 0
    }
}

/// Whether one of the first two prefixes of a sandbox covers an address: most have one of each family, or one.
#[inline(always)]
fn is_usual(sandbox: &SandboxConfig, address: &Address) -> bool {
    let [first, second, ..] = &sandbox.sources;
    sandbox.source_count > 0 && first.covers(address) || sandbox.source_count > 1 && second.covers(address)
}
