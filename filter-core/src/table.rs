//! A policy's addresses: ranges with their answers in a search tree that is built once and never changed.
//!
//! The tree is one array of 64-byte [`Node`]s, so that the kernel holds it as the elements of one map and drops it in one piece. A
//! node divides the addresses below it at up to twelve places (IPv4) or three (IPv6). The header stands first, then the
//! root of each family, then all other nodes, the children of a node side by side.

use crate::Address;

/// Places where an IPv4 node divides.
pub const V4_KEYS: usize = 12;
/// Places where an IPv6 node divides.
pub const V6_KEYS: usize = 3;
/// Index of the header.
pub const HEADER: u32 = 0;
/// Index of the root of the IPv4 addresses.
pub const V4_ROOT: u32 = 1;
/// Index of the root of the IPv6 addresses.
pub const V6_ROOT: u32 = 2;

/// Most levels of the IPv4 tree: room for 24 million ranges.
const V4_LEVELS: u32 = 7;
/// Most levels of the IPv6 tree: room for 16 million ranges.
const V6_LEVELS: u32 = 12;

/// An element of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Node {
    /// The last address of each part but the last, ascending; unused ones hold the last address of all. In host order; an
    /// IPv6 address is four words, the most significant first. In the header: the generation, then the capture.
    pub keys: [u32; V4_KEYS],
    /// In a leaf the answer of each part, the last one repeated. Else the index of the first child in four bytes, host order.
    pub parts: [u8; 15],
    /// Whether the node has children.
    pub inner: u8,
}

impl Node {
    /// A node that divides nothing and answers 0.
    pub const EMPTY: Node = Node { keys: [u32::MAX; V4_KEYS], parts: [0; 15], inner: 0 };

    #[inline(always)]
    fn part_v4(&self, address: u32) -> u32 {
        // The high half of a difference is all ones where the key is less. A comparison would become a branch, which the
        // processor mispredicts and the verifier follows both ways.
        let mut less = 0_u64;
        for key in self.keys {
            less = less.wrapping_add(u64::from(key).wrapping_sub(u64::from(address)) >> 32);
        }
        (less.wrapping_neg() & 15) as u32
    }

    #[inline(always)]
    fn part_v6(&self, high: u64, low: u64) -> u32 {
        let mut part = 0;
        for key in 0..V6_KEYS {
            let word = |at: usize| u64::from(self.keys[4 * key + at]);
            let (key_high, key_low) = (word(0) << 32 | word(1), word(2) << 32 | word(3));
            part += u32::from(key_high < high || key_high == high && key_low < low);
        }
        part
    }

    #[inline(always)]
    fn step(&self, part: u32) -> Step {
        if self.inner == 0 {
            return Step::Answer(self.parts[(part & 15).min(14) as usize]);
        }
        Step::Child(u32::from_ne_bytes([self.parts[0], self.parts[1], self.parts[2], self.parts[3]]).wrapping_add(part))
    }
}

enum Step {
    Answer(u8),
    Child(u32),
}

/// Where the nodes of a table are.
pub trait Nodes {
    /// The node at an index, if the table has one there.
    fn node(&self, index: u32) -> Option<&Node>;
}

impl Nodes for [Node] {
    fn node(&self, index: u32) -> Option<&Node> {
        self.get(index as usize)
    }
}

/// The answer for an address; `None` when the table is broken.
#[inline(always)]
pub fn find<N: Nodes + ?Sized>(nodes: &N, address: &Address) -> Option<u8> {
    let (high, low) = address.words();
    if address.is_v4() {
        let mut at = V4_ROOT;
        for _ in 0..V4_LEVELS {
            let node = nodes.node(at)?;
            match node.step(node.part_v4(low as u32)) {
                Step::Answer(answer) => return Some(answer),
                Step::Child(child) => at = child,
            }
        }
        return None;
    }
    let mut at = V6_ROOT;
    for _ in 0..V6_LEVELS {
        let node = nodes.node(at)?;
        match node.step(node.part_v6(high, low)) {
            Step::Answer(answer) => return Some(answer),
            Step::Child(child) => at = child,
        }
    }
    None
}

const _: () = assert!(size_of::<Node>() == 64);
