//! Builds the search tree of [`filter_core::table`] from ranges.

use filter_core::abi::Capture;
use filter_core::table::{
    First, MOST_FRONT_BITS, NODE_WORDS, Node, PAGE_NODES, Page, V4_KEYS, V4_TOP, V4_TOP_KEYS, V6_KEYS,
};

/// Addresses from the end of the range before up to and including `last`, and their answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) last: u128,
    pub(crate) answer: u8,
}

/// Builds a table: its beginning, and its other nodes. The ranges of each family are in order and cover all of its addresses.
pub(crate) fn build(generation: u32, capture: Capture, v4: &[Range], v6: &[Range]) -> (First, Vec<Node>) {
    let mut nodes = Vec::new();
    let (mut page, mut front_bits) = (Page::EMPTY, 0);
    if v4.len() <= V4_PAGE_PARTS {
        fill_page(&mut page.0, v4, &mut nodes);
    } else {
        front_bits = add_front(&mut nodes, v4);
    }
    let v6 = add_v6(&mut nodes, v6);
    let mut first = First { page, v6 };
    first.set_policy(generation, capture);
    first.set_front_bits(front_bits);
    (first, nodes)
}

/// Parts of an IPv4 node.
const V4_PARTS: usize = V4_KEYS + 1;
/// Parts of an IPv4 page.
const V4_PAGE_PARTS: usize = V4_PARTS * (V4_TOP_KEYS + 1);

/// Ranges of IPv4 that a part of the front has on average, at the most.
const FRONT_RANGES: usize = 4;
/// Lists gather in few places: so many times the front may be divided in two again before hardly a part has more ranges than a node.
const FRONT_GROWS: u32 = 4;
/// Of so many ranges one may be in such a part.
const RARELY: usize = 32;

/// How many bits choose a part of the front.
fn front_bits(ranges: &[Range]) -> u32 {
    let least = ranges.len().div_ceil(FRONT_RANGES).next_power_of_two().ilog2().min(MOST_FRONT_BITS);
    let most = (least + FRONT_GROWS).min(MOST_FRONT_BITS);
    let crowded = |bits: u32| -> usize {
        let part = |range: &Range| range.last as u32 >> (u32::BITS - bits);
        let parts = ranges.chunk_by(|one, next| part(one) == part(next));
        parts.map(<[Range]>::len).filter(|inside| *inside >= V4_PARTS).sum()
    };
    (least..most).find(|bits| crowded(*bits) * RARELY <= ranges.len()).unwrap_or(most)
}

/// Adds the front and the nodes that it tells, each for as many parts as it has room for; tells how many bits choose a part.
fn add_front(nodes: &mut Vec<Node>, ranges: &[Range]) -> u32 {
    let bits = front_bits(ranges);
    let last_of = |part: usize| ((part as u128 + 1) << (u32::BITS - bits)) - 1;
    let mut front = vec![0; 1 << bits];
    nodes.resize(front.len().div_ceil(NODE_WORDS), Node::EMPTY);
    let (mut first, mut begin) = (0, 0);
    while first < front.len() {
        // The ranges of the first part, then those of further ones while there is room.
        let (mut part, mut end) = (first, begin);
        loop {
            let inside = ranges[end..].iter().take_while(|range| range.last < last_of(part)).count();
            let over = part > first && end + inside - begin >= V4_PARTS;
            if over {
                break;
            }
            end += inside;
            part += 1;
            if part == front.len() || end - begin >= V4_PARTS {
                break;
            }
        }
        front[first..part].fill(index(nodes.len()));
        // Its place before those of what is below it.
        nodes.push(Node::EMPTY);
        let at = nodes.len() - 1;
        nodes[at] = v4_node(&ranges[begin..=end], nodes);
        // A range that ends with the part has nothing in the next.
        begin = end + usize::from(ranges[end].last == last_of(part - 1));
        first = part;
    }
    for (node, numbers) in nodes.iter_mut().zip(front.chunks(NODE_WORDS)) {
        *node = Node::of_front(std::array::from_fn(|at| numbers.get(at).copied().unwrap_or(0)));
    }
    bits
}

/// The node of some ranges; what does not fit into it is added to the others.
fn v4_node(ranges: &[Range], nodes: &mut Vec<Node>) -> Node {
    let mut node = Node::EMPTY;
    if ranges.len() <= V4_PARTS {
        divide(&mut node, ranges.iter());
        node.set_answers(&ranges.iter().map(|range| range.answer).collect::<Vec<u8>>());
        return node;
    }
    let each = room(V4_PAGE_PARTS, V4_PARTS, ranges.len());
    let parts: Vec<&[Range]> = ranges.chunks(each).collect();
    divide(&mut node, parts.iter().map(|part| &part[part.len() - 1]));
    let below = nodes.len();
    node.set_below(index(below));
    nodes.resize(below + parts.len() * PAGE_NODES, Node::EMPTY);
    for (nth, part) in parts.iter().enumerate() {
        let mut page = Page::EMPTY;
        fill_page(&mut page.0, part, nodes);
        nodes[below + nth * PAGE_NODES..][..PAGE_NODES].copy_from_slice(&page.0);
    }
    node
}

/// Fills a page with some ranges; what does not fit into it is added to the other nodes.
fn fill_page(page: &mut [Node; PAGE_NODES], ranges: &[Range], nodes: &mut Vec<Node>) {
    let parts: Vec<&[Range]> = ranges.chunks(room(V4_PARTS, V4_TOP_KEYS + 1, ranges.len())).collect();
    divide(&mut page[V4_TOP], parts.iter().map(|part| &part[part.len() - 1]));
    for (node, part) in page[V4_TOP + 1..].iter_mut().zip(parts) {
        *node = v4_node(part, nodes);
    }
}

/// How many ranges each of some parts has, so that all have room: those of one node or page, or those of the pages below it.
fn room(least: usize, parts: usize, ranges: usize) -> usize {
    let mut each = least;
    while each * parts < ranges {
        each *= V4_PAGE_PARTS;
    }
    each
}

/// Divides an IPv4 node after all but the last of these ranges.
fn divide<'a>(node: &mut Node, ends: impl ExactSizeIterator<Item = &'a Range>) {
    let keys = ends.len() - 1;
    for (at, end) in ends.take(keys).enumerate() {
        node.set_key(at, end.last as u32);
    }
}

/// Parts of an IPv6 node.
const V6_PARTS: usize = V6_KEYS + 1;

/// Adds the IPv6 tree but for its root, which is returned: the nodes of each level behind those of the one above it.
fn add_v6(nodes: &mut Vec<Node>, ranges: &[Range]) -> Node {
    let divided = |lasts: &[u128]| {
        let mut node = Node::EMPTY;
        for (at, last) in lasts[..lasts.len() - 1].iter().enumerate() {
            for (nth, word) in [last >> 96, last >> 64, last >> 32, *last].into_iter().enumerate() {
                node.set_key(4 * at + nth, word as u32);
            }
        }
        node
    };
    let mut lasts: Vec<u128> = ranges.iter().map(|range| range.last).collect();
    let leaves = lasts.chunks(V6_PARTS).zip(ranges.chunks(V6_PARTS)).map(|(lasts, ranges)| {
        let mut node = divided(lasts);
        node.set_answers(&ranges.iter().map(|range| range.answer).collect::<Vec<u8>>());
        node
    });
    let mut levels: Vec<Vec<Node>> = vec![leaves.collect()];
    while levels[levels.len() - 1].len() > 1 {
        lasts = lasts.chunks(V6_PARTS).map(|chunk| chunk[chunk.len() - 1]).collect();
        levels.push(lasts.chunks(V6_PARTS).map(divided).collect());
    }
    let mut root = None;
    while let Some(mut level) = levels.pop() {
        if !levels.is_empty() {
            // Behind this level, which has no place of its own when it is the root.
            let below = nodes.len() + if root.is_none() { 0 } else { level.len() };
            for (nth, node) in level.iter_mut().enumerate() {
                node.set_below(index(below + nth * V6_PARTS));
            }
        }
        match root {
            None => root = level.pop(),
            Some(_) => nodes.extend(level),
        }
    }
    root.unwrap_or(Node::EMPTY)
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("a table has fewer nodes than IPv4 addresses")
}
