//! A policy's addresses: ranges with their answers in a search tree that is built once and never changed.
//!
//! The tree is one array of [`Page`]s of 1 KiB, so that the kernel holds it as the elements of one map and drops it in one piece. Asking
//! the map for an element costs more than all that is done with it, so a page has room for two levels of the IPv4 tree: a top
//! [`Node`] that divides the addresses at up to twelve places, and a node for each part, that divides it again. The first page has the
//! policy's generation, the top of the IPv4 tree and the root of the IPv6 tree: a small policy is no more than that.

use crate::Address;
use crate::abi::Capture;

/// Places where an IPv4 node divides.
pub const V4_KEYS: usize = 12;
/// Places where an IPv6 node divides.
pub const V6_KEYS: usize = 3;
/// Nodes in a page.
pub const PAGE_NODES: usize = 16;
/// Place in its page of the node that divides an IPv4 page; the nodes of its parts come behind it.
pub const V4_TOP: usize = 0;
/// Place of the root of the IPv6 tree in the first page.
pub const V6_ROOT: usize = 14;

/// Most pages on the way to an IPv4 answer: room for 800 million ranges.
const V4_PAGES: u32 = 4;
/// Most levels of the IPv6 tree: room for 16 million ranges.
const V6_LEVELS: u32 = 12;

/// A place where a table divides addresses, or its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Node {
    /// The last address of each part but the last, ascending; unused ones hold the last address of all. In host order; an
    /// IPv6 address is four words, the most significant first.
    pub keys: [u32; V4_KEYS],
    /// In a leaf the answer of each part, the last one repeated. Else a place in four bytes, host order. In the top node of an IPv4
    /// page: that of the first part's node in the page. In another IPv4 node: the page of the first part. In an IPv6 node: that of the
    /// first child, counted in nodes from the first page on. In the top node of the first page the generation and the capture come
    /// behind the place: whoever searches the tree has them at hand.
    pub parts: [u8; 15],
    /// Whether something is below the node.
    pub inner: u8,
}

/// An element of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Page(pub [Node; PAGE_NODES]);

impl Page {
    /// A page that divides nothing and answers 0.
    pub const EMPTY: Page = Page([Node::EMPTY; PAGE_NODES]);

    /// Of the first page: the generation of the policy.
    #[inline(always)]
    #[must_use]
    pub const fn generation(&self) -> u32 {
        let parts = &self.0[V4_TOP].parts;
        u32::from_ne_bytes([parts[4], parts[5], parts[6], parts[7]])
    }

    /// Of the first page: the number of the policy's [`Capture`].
    #[inline(always)]
    #[must_use]
    pub const fn capture(&self) -> u8 {
        self.0[V4_TOP].parts[8]
    }

    /// Makes this the first page of a policy.
    pub fn set_policy(&mut self, generation: u32, capture: Capture) {
        let parts = &mut self.0[V4_TOP].parts;
        parts[4..8].copy_from_slice(&generation.to_ne_bytes());
        parts[8] = capture as u8;
    }

    #[inline(always)]
    fn node(&self, at: u32) -> &Node {
        &self.0[at as usize & (PAGE_NODES - 1)]
    }
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
        Step::Below(u32::from_ne_bytes([self.parts[0], self.parts[1], self.parts[2], self.parts[3]]).wrapping_add(part))
    }
}

enum Step {
    Answer(u8),
    Below(u32),
}

/// Where the pages of a table are.
pub trait Pages {
    /// The page at an index, if the table has one there.
    fn page(&self, index: u32) -> Option<&Page>;
}

impl Pages for [Page] {
    fn page(&self, index: u32) -> Option<&Page> {
        self.get(index as usize)
    }
}

/// The answer for an address, by a table and its first page; `None` when the table is broken.
#[inline(always)]
pub fn find<P: Pages + ?Sized>(pages: &P, first: &Page, address: &Address) -> Option<u8> {
    let (high, low) = address.words();
    if address.is_v4() { find_v4(pages, first, low as u32) } else { find_v6(pages, first, high, low) }
}

#[inline(always)]
fn find_v4<P: Pages + ?Sized>(pages: &P, first: &Page, address: u32) -> Option<u8> {
    let mut page = first;
    for _ in 0..V4_PAGES {
        let top = &page.0[V4_TOP];
        let place = match top.step(top.part_v4(address)) {
            Step::Answer(answer) => return Some(answer),
            Step::Below(place) => place,
        };
        let node = page.node(place);
        match node.step(node.part_v4(address)) {
            Step::Answer(answer) => return Some(answer),
            Step::Below(index) => page = pages.page(index)?,
        }
    }
    None
}

#[inline(always)]
fn find_v6<P: Pages + ?Sized>(pages: &P, first: &Page, high: u64, low: u64) -> Option<u8> {
    let mut node = &first.0[V6_ROOT];
    for _ in 0..V6_LEVELS {
        match node.step(node.part_v6(high, low)) {
            Step::Answer(answer) => return Some(answer),
            Step::Below(place) => node = pages.page(place / PAGE_NODES as u32)?.node(place),
        }
    }
    None
}

const _: () = assert!(size_of::<Node>() == 64);
const _: () = assert!(size_of::<Page>() == 1024);
const _: () = assert!(V4_TOP + V4_KEYS + 1 < V6_ROOT);
