//! What the loader tells the program of the kernel that it runs on.
//!
//! The program has numbers in its instructions that mean nothing by themselves; the loader puts the kernel's own in their place.

/// The number by which the program calls `bpf_cast_to_kern_ctx` (Linux 6.2), which gives it the kernel's own view of a packet. No helper has it.
pub const CAST_TO_KERNEL: u32 = 0x7fff_0001;

/// In its place: how the program may look at the kernel's own structure of a packet, one of [`KernelView`].
pub const KERNEL_VIEW: u32 = 0x7fff_0002;

/// In its place: the two bits of `ip_summed` in its byte, which say how much of the checksum is done.
pub const SUMMED_BITS: u32 = 0x7fff_0003;

/// In its place: how many bytes there are in an element before a [`Sandbox`](super::Sandbox).
pub const LEAD: u32 = 0x7fff_0004;

/// How the program may look at the kernel's own structure of a packet.
pub struct KernelView;

impl KernelView {
    /// Not at all: the kernel does not tell where its fields are.
    pub const NONE: u32 = 0;
    /// By its fields, which are checked by the verifier (`bpf_cast_to_kern_ctx`, Linux 6.2).
    pub const CAST: u32 = 1;
    /// By reading its memory (`bpf_probe_read_kernel`, Linux 5.5).
    pub const READ: u32 = 2;
}

/// The first of the numbers in the places of which come the offsets of [`SkbField`]s, in their order, where memory is read.
pub const READ_FIELD: u32 = 0x7fff_0100;

/// Offsets in the place of which come those of fields of the kernel's `struct sk_buff`. They differ from kernel to kernel.
pub struct SkbField;

impl SkbField {
    /// The byte with `ip_summed`.
    pub const SUMMED: u16 = 0x7f01;
    /// `csum_start`, two bytes: where a checksum that is left to a device begins, from `head` on.
    pub const CHECKSUM_START: u16 = 0x7f02;
    /// `csum_offset`, two bytes: where it is written, from there on.
    pub const CHECKSUM_OFFSET: u16 = 0x7f03;
    /// `head`, a pointer: where the packet's memory begins.
    pub const HEAD: u16 = 0x7f04;
    /// `data`, a pointer: where the frame begins.
    pub const DATA: u16 = 0x7f05;
}
