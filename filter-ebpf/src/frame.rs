//! A socket buffer as a frame.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes;
use aya_ebpf::programs::TcContext;
use core::mem::MaybeUninit;
use filter_core::packet::Source;

/// Reads through `bpf_skb_load_bytes`, so non-linear packets need no care.
pub struct Frame {
    /// The context.
    pub skb: *mut __sk_buff,
}

impl Frame {
    #[inline(always)]
    pub fn new(ctx: &TcContext) -> Frame {
        Frame { skb: ctx.skb.skb }
    }
}

impl Source for Frame {
    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the context of a classifier is valid while it runs.
        unsafe { (*self.skb).len }
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        /// So that what is read of it is read in words.
        #[repr(C, align(8))]
        struct Aligned<T>(T);
        let mut bytes = MaybeUninit::<Aligned<[u8; N]>>::uninit();
        // SAFETY: the helper writes N bytes to a buffer of N bytes, or fails.
        let failed = unsafe { bpf_skb_load_bytes(self.skb.cast(), offset, bytes.as_mut_ptr().cast(), N as u32) };
        // SAFETY: the helper has filled the buffer when it reports success.
        (failed == 0).then(|| unsafe { bytes.assume_init().0 })
    }

    #[inline(always)]
    fn stripped_vlan(&self) -> Option<u16> {
        // SAFETY: as in `length`.
        let (present, control) = unsafe { ((*self.skb).vlan_present, (*self.skb).vlan_tci) };
        (present != 0).then_some(control as u16)
    }
}
