//! A policy's addresses: ranges with their answers in a search tree that is built once and never changed.
//!
//! The tree is made of [`Page`]s. Asking a map for an element costs more than all that is done with it, so a page has room for two
//! levels of the IPv4 tree: a top [`Node`] that divides the addresses at up to eight places, and a node for each part, that divides it
//! again at up to twelve. [`First`] has the policy's generation, the first page of the IPv4 tree and the root of the IPv6 tree: a small
//! policy is no more than that. The other pages are the elements of one map, which the kernel drops in one piece.
//!
//! A node is as large as a line of the processor's cache, and every map has its elements where a node lies in one line
//! ([`PlacedPage`](crate::abi::PlacedPage)).

use crate::Address;
use crate::abi::Capture;

/// Places where an IPv4 node divides.
pub const V4_KEYS: usize = 12;
/// Places where the top node of an IPv4 page divides.
pub const V4_TOP_KEYS: usize = 8;
/// Places where an IPv6 node divides.
pub const V6_KEYS: usize = 3;
/// Nodes in a page.
pub const PAGE_NODES: usize = V4_TOP_KEYS + 2;
/// Place in its page of the node that divides an IPv4 page; the nodes of its parts come behind it.
pub const V4_TOP: usize = 0;

/// Most pages on the way to an IPv4 answer: room for 180 million ranges.
const V4_PAGES: u32 = 4;
/// Most levels of the IPv6 tree: room for 16 million ranges.
const V6_LEVELS: u32 = 12;
/// Bits of a place that tell a node of a page; the others tell the page.
const NODE_BITS: u32 = 4;

/// A place where a table divides addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Node {
    /// The last address of each part but the last, ascending; unused ones hold the last address of all. In host order; an
    /// IPv6 address is four words, the most significant first.
    pub keys: [u32; V4_KEYS],
    /// In a leaf the answers of the parts, four to a word, the first in the lowest bits. Else bit 24 of the last word is set, and the
    /// first word tells what is below the first part: of an IPv4 node the index of a page, of an IPv6 node its [`node_place`]; the other parts follow.
    /// The top node of an IPv4 page needs neither; in the first one it has the policy's header.
    words: [u32; 4],
}

/// The place of an IPv6 node, from the index of its page and of the node there.
#[must_use]
pub const fn node_place(page: u32, node: u32) -> u32 {
    page << NODE_BITS | node
}

/// Where the beginning of a policy has its generation, in bytes from its start. The word behind that has the capture in its low eight bits,
/// then a bit for [`First::rest`].
pub const HEADER: usize = V4_TOP * size_of::<Node>() + core::mem::offset_of!(Node, words) + 4;

/// A part of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Page(pub [Node; PAGE_NODES]);

impl Page {
    /// A page that divides nothing and answers 0.
    pub const EMPTY: Page = Page([Node::EMPTY; PAGE_NODES]);
}

/// The beginning of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct First {
    /// The first page of the IPv4 tree, and the header.
    pub page: Page,
    /// The root of the IPv6 tree.
    pub v6: Node,
}

impl First {
    /// One of no policy.
    pub const EMPTY: First = First { page: Page::EMPTY, v6: Node::EMPTY };

    /// The generation of the policy; 0 of none.
    #[inline(always)]
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.page.0[V4_TOP].words[1]
    }

    /// The number of the policy's [`Capture`].
    #[inline(always)]
    #[must_use]
    pub const fn capture(&self) -> u8 {
        self.page.0[V4_TOP].words[2] as u8
    }

    /// In which of the slot's two places the other pages are, 0 or 1.
    #[inline(always)]
    #[must_use]
    pub const fn rest(&self) -> u32 {
        self.page.0[V4_TOP].words[2] >> 8 & 1
    }

    /// Sets [`Self::rest`].
    pub const fn set_rest(&mut self, rest: u32) {
        let word = &mut self.page.0[V4_TOP].words[2];
        *word = *word & 0xff | (rest & 1) << 8;
    }

    /// Makes this the beginning of a policy whose other pages are in the first place.
    pub fn set_policy(&mut self, generation: u32, capture: Capture) {
        let words = &mut self.page.0[V4_TOP].words;
        words[1] = generation;
        words[2] = capture as u32;
    }
}

impl Node {
    /// A node that divides nothing and answers 0.
    pub const EMPTY: Node = Node { keys: [u32::MAX; V4_KEYS], words: [0; 4] };

    /// Makes this a leaf; the last answer is that of all parts behind it.
    pub fn set_answers(&mut self, answers: &[u8]) {
        let last = answers.last().copied().unwrap_or(0);
        for (nth, word) in self.words.iter_mut().enumerate() {
            let answer = |at: usize| answers.get(4 * nth + at).copied().unwrap_or(last);
            *word = u32::from_le_bytes([answer(0), answer(1), answer(2), answer(3)]);
        }
        // No node has so many parts: the place of the last one tells a leaf.
        self.words[3] &= 0x00ff_ffff;
    }

    /// Makes this an inner node: what is below its parts begins there.
    pub const fn set_below(&mut self, place: u32) {
        self.words = [place, 0, 0, INNER];
    }

    #[inline(always)]
    fn part_v4<const KEYS: usize>(&self, address: u32) -> u32 {
        // The high half of a difference is all ones where the key is less. A comparison would become a branch, which the
        // processor mispredicts and the verifier follows both ways.
        let mut less = 0_u64;
        for at in 0..KEYS {
            less = less.wrapping_add(u64::from(self.keys[at]).wrapping_sub(u64::from(address)) >> 32);
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
        if self.words[3] & INNER != 0 {
            return Step::Below(self.words[0].wrapping_add(part));
        }
        let word = self.words[(part >> 2) as usize & 3];
        Step::Answer((word >> ((part & 3) * 8)) as u8)
    }
}

/// In the last word of a node: it is no leaf.
const INNER: u32 = 1 << 24;

enum Step {
    Answer(u8),
    Below(u32),
}

/// Where the other pages of a table are.
pub trait Pages {
    /// The page at an index, if the table has one there.
    fn page(&self, index: u32) -> Option<&Page>;
}

impl Pages for [Page] {
    fn page(&self, index: u32) -> Option<&Page> {
        self.get(index as usize)
    }
}

/// The answer for an address, by a table's beginning and its other pages; `None` when the table is broken.
#[inline(always)]
pub fn find<P: Pages + ?Sized>(pages: &P, first: &First, address: &Address) -> Option<u8> {
    let (high, low) = address.words();
    if address.is_v4() { find_v4(pages, first, low as u32) } else { find_v6(pages, first, high, low) }
}

#[inline(always)]
fn find_v4<P: Pages + ?Sized>(pages: &P, first: &First, address: u32) -> Option<u8> {
    let mut page = &first.page;
    for _ in 0..V4_PAGES {
        let part = page.0[V4_TOP].part_v4::<V4_TOP_KEYS>(address);
        let node = page.0.get(V4_TOP + 1 + part as usize)?;
        match node.step(node.part_v4::<V4_KEYS>(address)) {
            Step::Answer(answer) => return Some(answer),
            Step::Below(index) => page = pages.page(index)?,
        }
    }
    None
}

#[inline(always)]
fn find_v6<P: Pages + ?Sized>(pages: &P, first: &First, high: u64, low: u64) -> Option<u8> {
    let mut node = &first.v6;
    for _ in 0..V6_LEVELS {
        match node.step(node.part_v6(high, low)) {
            Step::Answer(answer) => return Some(answer),
            Step::Below(place) => {
                let nth = place & ((1 << NODE_BITS) - 1);
                node = pages.page(place >> NODE_BITS)?.0.get(nth as usize)?;
            }
        }
    }
    None
}

const _: () = assert!(size_of::<Node>() == 64);
const _: () = assert!(size_of::<Page>() == 640 && size_of::<First>() == 704);
const _: () = assert!(PAGE_NODES <= 1 << NODE_BITS);
