//! A policy's addresses: ranges with their answers in a search tree that is built once and never changed.
//!
//! Each [`Node`] divides addresses at a few places and is as large as a line of the processor's cache. [`First`] has the policy's
//! generation, a [`Page`] of IPv4 nodes and the root of the IPv6 tree: a small policy is no more than that. A larger one has other nodes,
//! which lie in a row somewhere in one array that all policies share; the beginning says where. The first of them are its *front*: a
//! number for each of 2^n equal parts of the IPv4 addresses, which tells the node for that part and, where they have few ranges, its
//! neighbours. So two looks answer for most addresses, whatever the list's length. A part that is divided too often for a node has pages
//! below its node: up to thirteen, each a top node that divides at up to eight places with a node for each part behind it.

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
/// Most bits of an IPv4 address that tell its part of the front.
pub const MOST_FRONT_BITS: u32 = 20;

/// Most pages on the way to an IPv4 answer: room for 180 million ranges.
const V4_PAGES: u32 = 4;
/// Most levels of the IPv6 tree: room for 16 million ranges.
const V6_LEVELS: u32 = 12;

/// A place where a table divides addresses, or a part of the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Node([u32; NODE_WORDS]);

/// Numbers in a node. In one that divides come first the last addresses of each part but the last, ascending; unused ones hold the last
/// address of all. They are in host order; an IPv6 address is four words, the most significant first. Four more words are behind that.
/// In a leaf they have the answers of the parts, four to a word, the first in the lowest bits. Else bit 24 of the last word is set, and the
/// first tells which of the policy's other nodes is below the first part: of an IPv4 node the top of a page, of an IPv6 node a
/// node; what is below the other parts follows. The top node of an IPv4 page needs neither; in the first one it has the policy's header.
pub const NODE_WORDS: usize = V4_KEYS + 4;

/// The four words behind the keys.
const WORDS: usize = V4_KEYS;

/// Where the beginning of a policy has its generation, in bytes from its start. The word before that tells which node of all is the first of
/// its other ones; in the one behind are the capture, in the lowest eight bits, and the bits of the front; the last one tells how
/// many other nodes it has.
pub const HEADER: usize = V4_TOP * size_of::<Node>() + (WORDS + 1) * size_of::<u32>();

/// Nodes for a range of IPv4 addresses.
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
    /// The only page of a small IPv4 tree, and the header.
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
        self.page.0[V4_TOP].0[WORDS + 1]
    }

    /// The number of the policy's [`Capture`].
    #[inline(always)]
    #[must_use]
    pub const fn capture(&self) -> u8 {
        self.page.0[V4_TOP].0[WORDS + 2] as u8
    }

    /// How many bits of an IPv4 address tell its part in the front; 0 without one.
    #[inline(always)]
    #[must_use]
    pub const fn front_bits(&self) -> u32 {
        self.page.0[V4_TOP].0[WORDS + 2] >> 8 & 31
    }

    /// Which node of all is the first of the policy's other ones.
    #[inline(always)]
    #[must_use]
    pub const fn base(&self) -> u32 {
        self.page.0[V4_TOP].0[WORDS]
    }

    /// How many nodes from [`Self::base`] on belong to this beginning; 0 when they are another one's.
    #[must_use]
    pub const fn nodes(&self) -> u32 {
        self.page.0[V4_TOP].0[WORDS + 3]
    }

    /// Says where the other nodes are, and how many of them are this beginning's own.
    pub const fn set_nodes(&mut self, base: u32, nodes: u32) {
        let words = &mut self.page.0[V4_TOP].0;
        (words[WORDS], words[WORDS + 3]) = (base, nodes);
    }

    /// Says that there is a front of 2^`bits` parts; none with 0.
    pub const fn set_front_bits(&mut self, bits: u32) {
        let word = &mut self.page.0[V4_TOP].0[WORDS + 2];
        *word = *word & 0xff | bits << 8;
    }

    /// Makes this the beginning of a policy.
    pub fn set_policy(&mut self, generation: u32, capture: Capture) {
        let words = &mut self.page.0[V4_TOP].0;
        words[WORDS + 1] = generation;
        words[WORDS + 2] = words[WORDS + 2] & !0xff | capture.0 as u32;
    }
}

impl Node {
    /// A node that divides nothing and answers 0.
    pub const EMPTY: Node = Node([!0, !0, !0, !0, !0, !0, !0, !0, !0, !0, !0, !0, 0, 0, 0, 0]);

    /// A part of a front that tells these nodes.
    #[must_use]
    pub const fn of_front(numbers: [u32; NODE_WORDS]) -> Node {
        Node(numbers)
    }

    /// Sets a key.
    pub const fn set_key(&mut self, at: usize, last: u32) {
        self.0[at] = last;
    }

    /// Makes this a leaf; the last answer is that of all parts behind it.
    pub fn set_answers(&mut self, answers: &[u8]) {
        let last = answers.last().copied().unwrap_or(0);
        for (nth, word) in self.0[WORDS..].iter_mut().enumerate() {
            let answer = |at: usize| answers.get(4 * nth + at).copied().unwrap_or(last);
            *word = u32::from_le_bytes([answer(0), answer(1), answer(2), answer(3)]);
        }
        // No node has so many parts: the place of the last one tells a leaf.
        self.0[WORDS + 3] &= 0x00ff_ffff;
    }

    /// Makes this an inner node: what is below its parts begins with that node.
    pub const fn set_below(&mut self, node: u32) {
        (self.0[WORDS], self.0[WORDS + 3]) = (node, INNER);
    }

    #[inline(always)]
    fn part_v4<const KEYS: usize>(&self, address: u32) -> u32 {
        // The high half of a difference is all ones where the key is less. A comparison would become a branch, which the
        // processor mispredicts and the verifier follows both ways.
        let mut less = 0_u64;
        for at in 0..KEYS {
            less = less.wrapping_add(u64::from(self.0[at]).wrapping_sub(u64::from(address)) >> 32);
        }
        (less.wrapping_neg() & 15) as u32
    }

    #[inline(always)]
    fn part_v6(&self, high: u64, low: u64) -> u32 {
        let mut part = 0;
        for key in 0..V6_KEYS {
            let word = |at: usize| u64::from(self.0[4 * key + at]);
            let (key_high, key_low) = (word(0) << 32 | word(1), word(2) << 32 | word(3));
            part += u32::from(key_high < high || key_high == high && key_low < low);
        }
        part
    }

    #[inline(always)]
    fn step(&self, part: u32, width: u32) -> Step {
        if self.0[WORDS + 3] & INNER != 0 {
            return Step::Below(self.0[WORDS].wrapping_add(part * width));
        }
        let word = self.0[WORDS + ((part >> 2) as usize & 3)];
        Step::Answer((word >> ((part & 3) * 8)) as u8)
    }
}

/// In the last word of a node: it is no leaf.
const INNER: u32 = 1 << 24;

enum Step {
    Answer(u8),
    Below(u32),
}

/// Where the other nodes of a table are.
pub trait Nodes {
    /// One of them, if the table has it.
    fn node(&self, index: u32) -> Option<&Node>;
}

impl Nodes for [Node] {
    fn node(&self, index: u32) -> Option<&Node> {
        self.get(index as usize)
    }
}

/// The answer for an address of a family, by a table's beginning and its other nodes; `None` when the table is broken.
#[inline(always)]
pub fn find<N: Nodes + ?Sized, const V4: bool>(nodes: &N, first: &First, address: &Address) -> Option<u8> {
    let (high, low) = address.words();
    if V4 { find_v4(nodes, first, low as u32) } else { find_v6(nodes, first, high, low) }
}

#[inline(always)]
fn find_v4<N: Nodes + ?Sized>(nodes: &N, first: &First, address: u32) -> Option<u8> {
    let bits = first.front_bits();
    let mut node = if bits == 0 {
        let part = first.page.0[V4_TOP].part_v4::<V4_TOP_KEYS>(address);
        first.page.0.get(V4_TOP + 1 + part as usize)?
    } else {
        let part = (u64::from(address) << bits >> 32) as u32;
        let front = nodes.node(part / NODE_WORDS as u32)?;
        nodes.node(front.0[part as usize % NODE_WORDS])?
    };
    for _ in 0..V4_PAGES {
        match node.step(node.part_v4::<V4_KEYS>(address), PAGE_NODES as u32) {
            Step::Answer(answer) => return Some(answer),
            Step::Below(top) => {
                let part = nodes.node(top)?.part_v4::<V4_TOP_KEYS>(address);
                node = nodes.node(top.wrapping_add(1 + part))?;
            }
        }
    }
    None
}

#[inline(always)]
fn find_v6<N: Nodes + ?Sized>(nodes: &N, first: &First, high: u64, low: u64) -> Option<u8> {
    let mut node = &first.v6;
    for _ in 0..V6_LEVELS {
        match node.step(node.part_v6(high, low), 1) {
            Step::Answer(answer) => return Some(answer),
            Step::Below(index) => node = nodes.node(index)?,
        }
    }
    None
}

const _: () = assert!(size_of::<Node>() == 64);
const _: () = assert!(size_of::<Page>() == 640 && size_of::<First>() == 704);
